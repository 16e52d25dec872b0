#include "plugin_v3.h"

#include "logging.h"

#include <new>

namespace onnx_fix
{
namespace
{

// Neither constructor throws, so that running out of memory is all that can go wrong.
nvinfer1::IPluginV3* make(
    char const* where, Parameters const& parameters, Declared declared = Declared::kNotAsked) noexcept
{
    nvinfer1::IPluginV3* const made = new (std::nothrow) GatherElementsV3(parameters, declared);
    if (made == nullptr)
    {
        logError(where, "out of memory");
    }
    return made;
}

} // namespace

GatherElementsV3::GatherElementsV3(Parameters const& parameters, Declared declared) noexcept
    : mParameters(parameters)
    , mDeclared(declared)
    , mLayout(kLayout)
    , mKept{{kLayoutField, &mLayout, nvinfer1::PluginFieldType::kINT32, 1},
          {kAxisField, &mParameters.axis, nvinfer1::PluginFieldType::kINT32, 1}}
    , mFields{}
{
    mFields.nbFields = 2;
    mFields.fields = mKept;
}

nvinfer1::IPluginCapability* GatherElementsV3::getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept
{
    switch (type)
    {
    case nvinfer1::PluginCapabilityType::kCORE: return static_cast<nvinfer1::IPluginV3OneCore*>(this);
    case nvinfer1::PluginCapabilityType::kBUILD: return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
    case nvinfer1::PluginCapabilityType::kRUNTIME: return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
    }
    return nullptr;
}

nvinfer1::IPluginV3* GatherElementsV3::clone() noexcept
{
    return make("clone", mParameters, mDeclared.get());
}

nvinfer1::AsciiChar const* GatherElementsV3::getPluginName() const noexcept
{
    return kPluginName;
}

nvinfer1::AsciiChar const* GatherElementsV3::getPluginVersion() const noexcept
{
    return kPluginVersion;
}

nvinfer1::AsciiChar const* GatherElementsV3::getPluginNamespace() const noexcept
{
    return kPluginNamespace;
}

int32_t GatherElementsV3::configurePlugin(nvinfer1::DynamicPluginTensorDesc const* in, int32_t nbInputs,
    nvinfer1::DynamicPluginTensorDesc const* out, int32_t nbOutputs) noexcept
{
    if (in == nullptr || out == nullptr || nbInputs != kInputs || nbOutputs != kOutputs)
    {
        return resultOf("configurePlugin", Fault::kCount, cudaSuccess);
    }
    Fault const fault = checkTypes(specOf(in[0].desc), specOf(in[1].desc), specOf(out[0].desc));
    return resultOf("configurePlugin", fault, cudaSuccess);
}

int32_t GatherElementsV3::getOutputDataTypes(nvinfer1::DataType* outputTypes, int32_t nbOutputs,
    nvinfer1::DataType const* inputTypes, int32_t nbInputs) const noexcept
{
    if (outputTypes == nullptr || inputTypes == nullptr || nbInputs != kInputs || nbOutputs != kOutputs)
    {
        return resultOf("getOutputDataTypes", Fault::kCount, cudaSuccess);
    }
    Element output = Element::kOther;
    Fault const fault = outputType(elementOf(inputTypes[0]), elementOf(inputTypes[1]), output);
    outputTypes[0] = inputTypes[0];
    mDeclared.note(inputTypes[0]);
    return resultOf("getOutputDataTypes", fault, cudaSuccess);
}

int32_t GatherElementsV3::getOutputShapes(nvinfer1::DimsExprs const* inputs, int32_t nbInputs,
    nvinfer1::DimsExprs const* /*shapeInputs*/, int32_t nbShapeInputs, nvinfer1::DimsExprs* outputs, int32_t nbOutputs,
    nvinfer1::IExprBuilder& /*exprBuilder*/) noexcept
{
    if (inputs == nullptr || outputs == nullptr || nbInputs != kInputs || nbOutputs != kOutputs || nbShapeInputs != 0)
    {
        return resultOf("getOutputShapes", Fault::kCount, cudaSuccess);
    }
    int32_t place = 0;
    Fault const fault = checkRanks(inputs[0].nbDims, inputs[1].nbDims, mParameters.axis, place);
    if (fault == Fault::kNone)
    {
        outputs[0] = inputs[1];
    }
    return resultOf("getOutputShapes", fault, cudaSuccess);
}

bool GatherElementsV3::supportsFormatCombination(
    int32_t pos, nvinfer1::DynamicPluginTensorDesc const* inOut, int32_t nbInputs, int32_t nbOutputs) noexcept
{
    if (inOut == nullptr || pos < 0 || pos >= kTensors)
    {
        return false;
    }
    Spec specs[kTensors]{};
    for (int32_t k = 0; k <= pos; ++k)
    {
        specs[k] = specOf(inOut[k].desc);
    }
    return supports(specs, pos, nbInputs, nbOutputs, mDeclared.get());
}

int32_t GatherElementsV3::getNbOutputs() const noexcept
{
    return kOutputs;
}

int32_t GatherElementsV3::onShapeChange(nvinfer1::PluginTensorDesc const* in, int32_t nbInputs,
    nvinfer1::PluginTensorDesc const* out, int32_t nbOutputs) noexcept
{
    if (in == nullptr || out == nullptr || nbInputs != kInputs || nbOutputs != kOutputs)
    {
        return resultOf("onShapeChange", Fault::kCount, cudaSuccess);
    }
    int32_t place = 0;
    Fault const fault
        = checkShapes(shapeOf(in[0].dims), shapeOf(in[1].dims), shapeOf(out[0].dims), mParameters.axis, place);
    return resultOf("onShapeChange", fault, cudaSuccess);
}

int32_t GatherElementsV3::enqueue(nvinfer1::PluginTensorDesc const* inputDesc,
    nvinfer1::PluginTensorDesc const* outputDesc, void const* const* inputs, void* const* outputs, void* /*workspace*/,
    cudaStream_t stream) noexcept
{
    cudaError_t status = cudaSuccess;
    Fault const fault = run(mParameters, inputDesc, outputDesc, inputs, outputs, stream, status);
    return resultOf("enqueue", fault, status);
}

nvinfer1::IPluginV3* GatherElementsV3::attachToContext(nvinfer1::IPluginResourceContext* /*context*/) noexcept
{
    return clone();
}

nvinfer1::PluginFieldCollection const* GatherElementsV3::getFieldsToSerialize() noexcept
{
    return &mFields;
}

GatherElementsCreatorV3::GatherElementsCreatorV3() noexcept
    : mField{kAxisField, nullptr, nvinfer1::PluginFieldType::kINT32, 1}
    , mFields{}
{
    mFields.nbFields = 1;
    mFields.fields = &mField;
}

nvinfer1::AsciiChar const* GatherElementsCreatorV3::getPluginName() const noexcept
{
    return kPluginName;
}

nvinfer1::AsciiChar const* GatherElementsCreatorV3::getPluginVersion() const noexcept
{
    return kPluginVersion;
}

nvinfer1::AsciiChar const* GatherElementsCreatorV3::getPluginNamespace() const noexcept
{
    return kPluginNamespace;
}

nvinfer1::PluginFieldCollection const* GatherElementsCreatorV3::getFieldNames() noexcept
{
    return &mFields;
}

nvinfer1::IPluginV3* GatherElementsCreatorV3::createPlugin(nvinfer1::AsciiChar const* /*name*/,
    nvinfer1::PluginFieldCollection const* fc, nvinfer1::TensorRTPhase /*phase*/) noexcept
{
    Parameters parameters{};
    Fault const fault = readFields(fc, parameters);
    if (fault != Fault::kNone)
    {
        logFault("createPlugin", fault);
        return nullptr;
    }
    return make("createPlugin", parameters);
}

} // namespace onnx_fix
