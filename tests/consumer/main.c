/* The C interface from C: a model file given as the argument is loaded, run as a batch and as a stream, with equal
 * bits; failures come as a status and a line. Exits with 0 only if everything came out right. */
#include <rnncore/c_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures = 0;

static void expect(int condition, const char* what) {
  if (condition) return;
  fprintf(stderr, "consumer_c: failed: %s (%s)\n", what, rnncore_last_error());
  ++failures;
}

static void stream_equals_batch(const rnncore_model* model, int64_t outputs) {
  const int64_t ids[] = {0, 3, 6, 1, 5};
  const int64_t steps = sizeof ids / sizeof *ids;
  float* batch = malloc((size_t)(steps * outputs) * sizeof *batch);
  float* step = malloc((size_t)outputs * sizeof *step);
  rnncore_stream* stream = NULL;
  expect(rnncore_model_forward_ids(model, ids, steps, 1, NULL, batch) == RNNCORE_OK, "a batch runs");
  expect(rnncore_stream_create(model, 1, &stream) == RNNCORE_OK, "there is a stream");
  void* state = malloc(rnncore_stream_state_bytes(stream));
  for (int64_t t = 0; t < steps; ++t) {
    expect(rnncore_stream_save(stream, state) == RNNCORE_OK, "a snapshot");
    for (int again = 0; again < 2; ++again) {
      expect(rnncore_stream_restore(stream, state) == RNNCORE_OK, "back to the snapshot");
      expect(rnncore_stream_step_ids(stream, &ids[t], step) == RNNCORE_OK, "a step");
      expect(memcmp(step, batch + t * outputs, (size_t)outputs * sizeof *step) == 0, "a step has the batch's bits");
    }
  }
  expect(rnncore_stream_step(stream, step, step) == RNNCORE_TYPE, "features are refused");
  expect(strstr(rnncore_last_error(), "rnncore_stream_step") != NULL, "by name");
  rnncore_stream_free(stream);
  free(state);
  free(step);
  free(batch);
}

int main(int argc, char** argv) {
  rnncore_model* model = NULL;
  rnncore_model_info info;
  if (argc != 2) return 2;
  printf("rnncore %s from C\n", rnncore_version());
  expect(rnncore_model_load("/nonexistent/model.safetensors", &model) == RNNCORE_IO, "a missing file is an error");
  expect(strstr(rnncore_last_error(), "/nonexistent/model.safetensors") != NULL, "the error names the file");
  expect(rnncore_model_load(argv[1], &model) == RNNCORE_OK, "the model loads");
  if (model == NULL) return 1;
  expect(rnncore_model_describe(model, &info) == RNNCORE_OK, "the model describes itself");
  expect(info.vocab_size == 7 && info.output_size == 7 && info.num_layers == 2 && !info.is_double, "as it was saved");
  stream_equals_batch(model, info.output_size);
  rnncore_model_free(model);
  return failures == 0 ? 0 : 1;
}
