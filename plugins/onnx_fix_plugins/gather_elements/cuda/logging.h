// Where the plugin says what is wrong.

#ifndef ONNX_FIX_GATHER_ELEMENTS_LOGGING_H
#define ONNX_FIX_GATHER_ELEMENTS_LOGGING_H

#include "release.h"

namespace onnx_fix
{

// To the logger of TensorRT, or to standard error where none can be found. Never throws.
void logError(char const* where, char const* what) noexcept;

inline void logFault(char const* where, Fault fault) noexcept
{
    logError(where, text(fault));
}

// What enqueue returns: 0 where all is well, else 1 with a message.
int32_t resultOf(char const* where, Fault fault, cudaError_t status) noexcept;

#if ONNX_FIX_HAS_ENTRY_POINTS
// The finder that TensorRT hands to a library that it loads itself.
void setFinder(nvinfer1::ILoggerFinder* finder) noexcept;
#endif

} // namespace onnx_fix

#endif
