// Symbol visibility: everything is hidden but what carries RNNCORE_EXPORT.
#pragma once

#if defined(_WIN32)
#define RNNCORE_EXPORT
#else
#define RNNCORE_EXPORT __attribute__((visibility("default")))
#endif
