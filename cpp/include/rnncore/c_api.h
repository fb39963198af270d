/* The C interface: models and streams behind opaque handles, for other languages and for C. No exception crosses it.
 *
 * Every function that can fail returns a status; what went wrong is then in rnncore_last_error() of the same thread.
 * Handles may be used from several threads at once for reading (forward, score, generate), a stream from one at a time.
 * Sizes are int64; arrays are row-major and time-major: (T, N, features); texts are UTF-8.
 */
#ifndef RNNCORE_C_API_H_
#define RNNCORE_C_API_H_

#include <stddef.h>
#include <stdint.h>

#include "rnncore/export.hpp"

#ifdef __cplusplus
#define RNNCORE_C_FUNCTION extern "C" RNNCORE_EXPORT
#else
#define RNNCORE_C_FUNCTION RNNCORE_EXPORT
#endif

typedef struct rnncore_model rnncore_model;
typedef struct rnncore_stream rnncore_stream;

typedef enum rnncore_status {
  RNNCORE_OK = 0,
  RNNCORE_ARGUMENT = 1, /* a wrong value or shape, a null pointer: the caller's fault */
  RNNCORE_TYPE = 2,     /* float where the model is double, ids where it reads features, and the reverse */
  RNNCORE_IO = 3,       /* a file cannot be read, or is not what it claims to be */
  RNNCORE_NUMERIC = 4,  /* NaN or infinity where a number is needed */
  RNNCORE_MEMORY = 5,   /* out of memory */
  RNNCORE_INTERNAL = 6  /* anything else */
} rnncore_status;

/* "0.1.0" */
RNNCORE_C_FUNCTION const char* rnncore_version(void);
/* One line on what failed last in this thread; "" before any failure. Valid until the thread's next failure. */
RNNCORE_C_FUNCTION const char* rnncore_last_error(void);
RNNCORE_C_FUNCTION rnncore_status rnncore_set_num_threads(int threads);

/* Models --------------------------------------------------------------------------------------------------------- */

/* *model is set only on RNNCORE_OK; free it with rnncore_model_free. The file is mapped into memory: replace it by
 * renaming, do not write into it. */
RNNCORE_C_FUNCTION rnncore_status rnncore_model_load(const char* path, rnncore_model** model);
/* The bytes of a model file; they are copied. */
RNNCORE_C_FUNCTION rnncore_status rnncore_model_parse(const void* bytes, size_t size, rnncore_model** model);
RNNCORE_C_FUNCTION void rnncore_model_free(rnncore_model* model); /* null is allowed; streams made of it live on */

typedef struct rnncore_model_info {
  const char* kind;    /* "language_model", "classifier", ... (docs/model-files.md); lives as long as the library */
  int64_t vocab_size;  /* V; 0: the model reads features */
  int64_t input_size;  /* features of a step; 1 for tokens */
  int64_t output_size; /* O */
  int64_t num_layers;
  int32_t is_double;    /* 1: float64, else float32 */
  int32_t per_sequence; /* 1: one output a sequence, (N, O); 0: one a step, (T, N, O) */
  int32_t has_vocabulary;
} rnncore_model_info;
RNNCORE_C_FUNCTION rnncore_status rnncore_model_describe(const rnncore_model* model, rnncore_model_info* info);
/* The specification as JSON; lives as long as the model. */
RNNCORE_C_FUNCTION const char* rnncore_model_spec_json(const rnncore_model* model);

/* A batch, from a zero state. lengths (N) or null. out: (T, N, O), or (N, O) if per_sequence. The element type of `in`
 * is the function's, and must be the model's. */
RNNCORE_C_FUNCTION rnncore_status rnncore_model_forward(const rnncore_model* model, const float* in, int64_t T,
                                                        int64_t N, const int64_t* lengths, float* out);
RNNCORE_C_FUNCTION rnncore_status rnncore_model_forward_double(const rnncore_model* model, const double* in, int64_t T,
                                                               int64_t N, const int64_t* lengths, double* out);
/* The same for a model that reads tokens; out: float, or double if is_double. */
RNNCORE_C_FUNCTION rnncore_status rnncore_model_forward_ids(const rnncore_model* model, const int64_t* ids, int64_t T,
                                                            int64_t N, const int64_t* lengths, void* out);

/* Text ----------------------------------------------------------------------------------------------------------- */

/* Ids of a text: up to `capacity` are written to ids (null with capacity 0), their number to *count. end_line: words
 * only, whether an unfinished last line gets its <eos>. */
RNNCORE_C_FUNCTION rnncore_status rnncore_encode(const rnncore_model* model, const char* text, size_t size,
                                                 int end_line, int64_t* ids, size_t capacity, size_t* count);
/* The text of ids: up to `capacity` bytes, a final NUL included, are written to text; *size is its whole length without
 * NUL. */
RNNCORE_C_FUNCTION rnncore_status rnncore_decode(const rnncore_model* model, const int64_t* ids, size_t count,
                                                 char* text, size_t capacity, size_t* size);
/* log P(text) in nats; start (or null) conditions the first prediction. */
RNNCORE_C_FUNCTION rnncore_status rnncore_log_prob(const rnncore_model* model, const char* text, size_t size,
                                                   const char* start, double* nats);
/* Negative log-likelihood in nats of ids (count >= 2), each given all before it. */
RNNCORE_C_FUNCTION rnncore_status rnncore_score(const rnncore_model* model, const int64_t* ids, size_t count,
                                                double* nats);

typedef struct rnncore_generate_options {
  int64_t length;     /* at most this many tokens */
  double temperature; /* 0: always the most likely */
  int64_t top_k;      /* 0: all */
  double top_p;       /* 1: all */
  uint64_t seed;
  const char* stop; /* ends the text, and is left out; or null */
} rnncore_generate_options;
/* length 500, temperature 1, all tokens, seed 0, no stop string. */
RNNCORE_C_FUNCTION rnncore_generate_options rnncore_generate_defaults(void);
/* What follows prompt (null: the start of a line); options null: the defaults. Text as in rnncore_decode. */
RNNCORE_C_FUNCTION rnncore_status rnncore_generate(const rnncore_model* model, const char* prompt,
                                                   const rnncore_generate_options* options, char* text, size_t capacity,
                                                   size_t* size);
/* The same from ids to ids, also where only Python reads the model's vocabulary (subwords; then without stop): prompt
 * has count >= 1 ids; up to `capacity` are written to ids, their number to *found. */
RNNCORE_C_FUNCTION rnncore_status rnncore_generate_ids(const rnncore_model* model, const int64_t* prompt, size_t count,
                                                       const rnncore_generate_options* options, int64_t* ids,
                                                       size_t capacity, size_t* found);

/* Streams -------------------------------------------------------------------------------------------------------- */

/* N parallel streams, from a zero state. Everything is allocated here. */
RNNCORE_C_FUNCTION rnncore_status rnncore_stream_create(const rnncore_model* model, int64_t N, rnncore_stream** stream);
RNNCORE_C_FUNCTION void rnncore_stream_free(rnncore_stream* stream); /* null is allowed */

/* One step: in (N, input_size) or ids (N), out (N, output_size). They allocate nothing, lock nothing and make no system
 * call. */
RNNCORE_C_FUNCTION rnncore_status rnncore_stream_step(rnncore_stream* stream, const float* in, float* out);
RNNCORE_C_FUNCTION rnncore_status rnncore_stream_step_double(rnncore_stream* stream, const double* in, double* out);
RNNCORE_C_FUNCTION rnncore_status rnncore_stream_step_ids(rnncore_stream* stream, const int64_t* ids, void* out);

RNNCORE_C_FUNCTION rnncore_status rnncore_stream_reset(rnncore_stream* stream);                /* all streams */
RNNCORE_C_FUNCTION rnncore_status rnncore_stream_reset_one(rnncore_stream* stream, int64_t n); /* stream n */
/* Snapshots: plain bytes, of all streams together. */
RNNCORE_C_FUNCTION size_t rnncore_stream_state_bytes(const rnncore_stream* stream);
RNNCORE_C_FUNCTION rnncore_status rnncore_stream_save(const rnncore_stream* stream, void* state);
RNNCORE_C_FUNCTION rnncore_status rnncore_stream_restore(rnncore_stream* stream, const void* state);
/* The same of stream n alone: state_bytes / N bytes, which any stream of the model takes, in any batch. */
RNNCORE_C_FUNCTION rnncore_status rnncore_stream_save_one(const rnncore_stream* stream, int64_t n, void* state);
RNNCORE_C_FUNCTION rnncore_status rnncore_stream_restore_one(rnncore_stream* stream, int64_t n, const void* state);

#endif /* RNNCORE_C_API_H_ */
