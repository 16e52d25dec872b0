// How TensorRT comes to know the plugin: by the entry points, where it loads the library itself
// (IPluginRegistry::loadLibrary, trtexec --dynamicPlugins), and when the library is merely opened
// (dlopen, trtexec --plugins and --staticPlugins), as REGISTER_TENSORRT_PLUGIN does it.

#include "logging.h"

#if defined(ONNX_FIX_PLUGIN_V2)
#include "plugin_v2.h"
#else
#include "plugin_v3.h"
#endif

#if defined(_WIN32)
#define ONNX_FIX_EXPORT __declspec(dllexport)
#else
#define ONNX_FIX_EXPORT __attribute__((visibility("default")))
// Weak, so that the library also loads where TensorRT itself is loaded without global symbols.
extern "C" nvinfer1::IPluginRegistry* getPluginRegistry() noexcept __attribute__((weak));
#endif

#if defined(ONNX_FIX_PLUGIN_V2) && defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#endif

namespace
{

#if defined(ONNX_FIX_PLUGIN_V2)
using Creator = onnx_fix::GatherElementsCreatorV2;
#else
using Creator = onnx_fix::GatherElementsCreatorV3;
#endif
#if ONNX_FIX_HAS_V3
using CreatorBase = nvinfer1::IPluginCreatorInterface;
#else
using CreatorBase = nvinfer1::IPluginCreator;
#endif

// Never destroyed: a registry may outlive the library's own static objects.
Creator* creator() noexcept
{
    try
    {
        static Creator* const only = new Creator();
        return only;
    }
    catch (...)
    {
        onnx_fix::logError("creator", "out of memory");
        return nullptr;
    }
}

bool registerHere() noexcept
{
#if !defined(_WIN32)
    if (getPluginRegistry == nullptr)
    {
        return false;
    }
#endif
    nvinfer1::IPluginRegistry* const registry = getPluginRegistry();
    if (registry == nullptr || creator() == nullptr)
    {
        return false;
    }
    return registry->registerCreator(*creator(), onnx_fix::kPluginNamespace);
}

#if defined(ONNX_FIX_REGISTER_ON_LOAD)
bool const gRegistered = registerHere();
#endif

} // namespace

#if ONNX_FIX_HAS_ENTRY_POINTS
extern "C" ONNX_FIX_EXPORT void setLoggerFinder(nvinfer1::ILoggerFinder* finder) noexcept
{
    onnx_fix::setFinder(finder);
}

// The name of the entry point changed in 10.0, when it began to tell of creators of both kinds.
#if ONNX_FIX_HAS_V3
extern "C" ONNX_FIX_EXPORT CreatorBase* const* getCreators(int32_t& nbCreators) noexcept
#else
extern "C" ONNX_FIX_EXPORT CreatorBase* const* getPluginCreators(int32_t& nbCreators) noexcept
#endif
{
    static CreatorBase* const all[] = {creator()};
    nbCreators = all[0] == nullptr ? 0 : 1;
    return all;
}
#endif

// For programs that opened the library themselves before TensorRT could be found: registers the
// creator with the TensorRT of the process. 1 where it is registered now, 0 where it cannot be.
extern "C" ONNX_FIX_EXPORT int32_t onnxFixRegisterPlugins() noexcept
{
    return registerHere() ? 1 : 0;
}
