// GatherElementsPlugin as an IPluginV2DynamicExt, for TensorRT 7.0 to 10.

#ifndef ONNX_FIX_GATHER_ELEMENTS_PLUGIN_V2_H
#define ONNX_FIX_GATHER_ELEMENTS_PLUGIN_V2_H

#include "release.h"

#include <string>

// Deprecated since 10.0 in favour of IPluginV3, and the only interface before it. The overloads that
// IPluginV2DynamicExt hides are those of its bases, which it closes itself.
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#endif

namespace onnx_fix
{

class GatherElementsV2 final : public nvinfer1::IPluginV2DynamicExt
{
public:
    explicit GatherElementsV2(Parameters const& parameters, Declared declared = Declared::kNotAsked);
    GatherElementsV2(GatherElementsV2 const&) = delete;
    GatherElementsV2& operator=(GatherElementsV2 const&) = delete;

    nvinfer1::IPluginV2DynamicExt* clone() const noexcept override;
    nvinfer1::DimsExprs getOutputDimensions(int32_t outputIndex, nvinfer1::DimsExprs const* inputs, int32_t nbInputs,
        nvinfer1::IExprBuilder& exprBuilder) noexcept override;
    bool supportsFormatCombination(int32_t pos, nvinfer1::PluginTensorDesc const* inOut, int32_t nbInputs,
        int32_t nbOutputs) noexcept override;
    void configurePlugin(nvinfer1::DynamicPluginTensorDesc const* in, int32_t nbInputs,
        nvinfer1::DynamicPluginTensorDesc const* out, int32_t nbOutputs) noexcept override;
    size_t getWorkspaceSize(nvinfer1::PluginTensorDesc const* inputs, int32_t nbInputs,
        nvinfer1::PluginTensorDesc const* outputs, int32_t nbOutputs) const noexcept override;
    int32_t enqueue(nvinfer1::PluginTensorDesc const* inputDesc, nvinfer1::PluginTensorDesc const* outputDesc,
        void const* const* inputs, void* const* outputs, void* workspace, cudaStream_t stream) noexcept override;

    nvinfer1::DataType getOutputDataType(
        int32_t index, nvinfer1::DataType const* inputTypes, int32_t nbInputs) const noexcept override;

    char const* getPluginType() const noexcept override;
    char const* getPluginVersion() const noexcept override;
    int32_t getNbOutputs() const noexcept override;
    int32_t initialize() noexcept override;
    void terminate() noexcept override;
    size_t getSerializationSize() const noexcept override;
    void serialize(void* buffer) const noexcept override;
    void destroy() noexcept override;
    void setPluginNamespace(char const* pluginNamespace) noexcept override;
    char const* getPluginNamespace() const noexcept override;

private:
    Parameters const mParameters;
    DeclaredType const mDeclared;
    std::string mNamespace;
};

class GatherElementsCreatorV2 final : public nvinfer1::IPluginCreator
{
public:
    GatherElementsCreatorV2();

    char const* getPluginName() const noexcept override;
    char const* getPluginVersion() const noexcept override;
    nvinfer1::PluginFieldCollection const* getFieldNames() noexcept override;
    nvinfer1::IPluginV2* createPlugin(char const* name, nvinfer1::PluginFieldCollection const* fc) noexcept override;
    nvinfer1::IPluginV2* deserializePlugin(
        char const* name, void const* serialData, size_t serialLength) noexcept override;
    void setPluginNamespace(char const* pluginNamespace) noexcept override;
    char const* getPluginNamespace() const noexcept override;

private:
    nvinfer1::PluginField const mField;
    nvinfer1::PluginFieldCollection mFields;
    std::string mNamespace;
};

} // namespace onnx_fix

#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#endif
