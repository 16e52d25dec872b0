// A library with a creator named GatherElementsPlugin that says which fields arrive, then lets the
// plugin's own creator make the plugin. With no_kernel.cpp: nothing is run.

#include "plugin_v3.h"

#include <cstdio>

namespace
{

class Probe : public nvinfer1::IPluginCreatorV3One
{
public:
    nvinfer1::AsciiChar const* getPluginName() const noexcept override
    {
        return mReal.getPluginName();
    }
    nvinfer1::AsciiChar const* getPluginVersion() const noexcept override
    {
        return mReal.getPluginVersion();
    }
    nvinfer1::AsciiChar const* getPluginNamespace() const noexcept override
    {
        return mReal.getPluginNamespace();
    }
    nvinfer1::PluginFieldCollection const* getFieldNames() noexcept override
    {
        return mReal.getFieldNames();
    }
    nvinfer1::IPluginV3* createPlugin(nvinfer1::AsciiChar const* name, nvinfer1::PluginFieldCollection const* fc,
        nvinfer1::TensorRTPhase phase) noexcept override
    {
        std::printf("createPlugin phase %d\n", static_cast<int>(phase));
        for (int32_t k = 0; k < fc->nbFields; ++k)
        {
            nvinfer1::PluginField const& field = fc->fields[k];
            int32_t const value
                = field.type == nvinfer1::PluginFieldType::kINT32 ? *static_cast<int32_t const*>(field.data) : 0;
            std::printf("field %s type %d length %d value %d\n", field.name, static_cast<int>(field.type),
                field.length, value);
        }
        nvinfer1::IPluginV3* const made = mReal.createPlugin(name, fc, phase);
        std::printf("created %d\n", made != nullptr);
        std::fflush(stdout);
        return made;
    }

private:
    onnx_fix::GatherElementsCreatorV3 mReal;
};

} // namespace

extern "C" __attribute__((visibility("default"))) void setLoggerFinder(nvinfer1::ILoggerFinder* /*finder*/) {}

extern "C" __attribute__((visibility("default"))) nvinfer1::IPluginCreatorInterface* const* getCreators(
    int32_t& nbCreators)
{
    static Probe probe;
    static nvinfer1::IPluginCreatorInterface* const all[] = {&probe};
    nbCreators = 1;
    return all;
}
