// How TensorRT comes to know the plugin: by the entry points, where it loads the library itself
// (IPluginRegistry::loadLibrary, trtexec --dynamicPlugins), and when the library is merely opened
// (dlopen, trtexec --plugins and --staticPlugins), as REGISTER_TENSORRT_PLUGIN does it. Unlike that
// macro this also survives a TensorRT of another major version, and both ways one after the other.

#include "logging.h"

#if defined(ONNX_FIX_PLUGIN_V2)
#include "plugin_v2.h"
#else
#include "plugin_v3.h"
#endif

#include <atomic>
#include <new>

#if defined(_WIN32)
#define ONNX_FIX_EXPORT __declspec(dllexport)
#else
#define ONNX_FIX_EXPORT __attribute__((visibility("default")))
// Weak, so that the library also loads where TensorRT itself is loaded without global symbols.
#pragma weak getPluginRegistry
#pragma weak getInferLibVersion
#endif

#if defined(ONNX_FIX_PLUGIN_V2) && defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#endif

#if defined(ONNX_FIX_PLUGIN_V2) && ONNX_FIX_TENSORRT_MAJOR >= 11
#error "IPluginRegistry takes no IPluginV2 since TensorRT 11; build the class for IPluginV3"
#endif
#if !defined(ONNX_FIX_PLUGIN_V2) && !ONNX_FIX_HAS_V3
#error "IPluginV3 came with TensorRT 10; build the class for IPluginV2"
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

// The registry of this process, if it is of the major version whose headers the library was built
// with. IPluginRegistry is laid out otherwise in others (11.0 took methods away), and a call crashes.
nvinfer1::IPluginRegistry* registry() noexcept
{
#if !defined(_WIN32)
    if (getPluginRegistry == nullptr || getInferLibVersion == nullptr)
    {
        return nullptr;
    }
#endif
    // Thousands tell the major version up to 9, tens of thousands since 10 and in TensorRT-RTX.
    int32_t const unit = NV_TENSORRT_MAJOR >= 10 || ONNX_FIX_RTX ? 10000 : 1000;
    return getInferLibVersion() / unit == NV_TENSORRT_MAJOR ? getPluginRegistry() : nullptr;
}

bool registerHere() noexcept
{
    nvinfer1::IPluginRegistry* const known = registry();
    return known != nullptr && creator() != nullptr && known->registerCreator(*creator(), onnx_fix::kPluginNamespace);
}

// Whether the creator sits in the registry because the library was opened.
std::atomic<bool> gRegistered{false};

#if defined(ONNX_FIX_REGISTER_ON_LOAD)
struct OnLoad
{
    OnLoad() noexcept
    {
        gRegistered.store(registerHere());
    }
};

OnLoad const gOnLoad{};
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
    // loadLibrary fails where a creator of the name is registered, and to load is to open first.
    if (gRegistered.exchange(false))
    {
        registry()->deregisterCreator(*creator());
    }
    static CreatorBase* const all[] = {creator()};
    nbCreators = all[0] == nullptr ? 0 : 1;
    return all;
}
#endif

// For programs that open the library before TensorRT: registers the creator with the TensorRT that is
// there now. 1 if it is registered, 0 if it cannot be.
extern "C" ONNX_FIX_EXPORT int32_t onnxFixRegisterPlugins() noexcept
{
    if (!gRegistered.load() && registerHere())
    {
        gRegistered.store(true);
    }
    return gRegistered.load() ? 1 : 0;
}
