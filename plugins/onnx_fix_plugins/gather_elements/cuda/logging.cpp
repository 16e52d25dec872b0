#include "logging.h"

#include <atomic>
#include <cstdio>

#if !defined(_WIN32)
// Weak, so that the library also loads where TensorRT itself is loaded without global symbols.
#pragma weak getLogger
#endif

namespace onnx_fix
{
namespace
{

#if ONNX_FIX_HAS_ENTRY_POINTS
std::atomic<nvinfer1::ILoggerFinder*> gFinder{nullptr};
#endif

nvinfer1::ILogger* findLogger() noexcept
{
#if ONNX_FIX_HAS_ENTRY_POINTS
    nvinfer1::ILoggerFinder* const finder = gFinder.load();
    if (finder != nullptr)
    {
        return finder->findLogger();
    }
#endif
#if defined(_WIN32)
    return getLogger();
#else
    return getLogger == nullptr ? nullptr : getLogger();
#endif
}

} // namespace

#if ONNX_FIX_HAS_ENTRY_POINTS
void setFinder(nvinfer1::ILoggerFinder* finder) noexcept
{
    gFinder.store(finder);
}
#endif

void logError(char const* where, char const* what) noexcept
{
    char line[512];
    std::snprintf(line, sizeof(line), "%s::%s: %s", kPluginName, where, what);
    try
    {
        nvinfer1::ILogger* const logger = findLogger();
        if (logger != nullptr)
        {
            logger->log(nvinfer1::ILogger::Severity::kERROR, line);
            return;
        }
    }
    catch (...)
    {
        // A logger of the user threw. Nothing may cross into TensorRT.
    }
    std::fprintf(stderr, "%s\n", line);
}

int32_t resultOf(char const* where, Fault fault, cudaError_t status) noexcept
{
    if (fault != Fault::kNone)
    {
        logFault(where, fault);
        return 1;
    }
    if (status != cudaSuccess)
    {
        logError(where, cudaGetErrorString(status));
        return 1;
    }
    return 0;
}

} // namespace onnx_fix
