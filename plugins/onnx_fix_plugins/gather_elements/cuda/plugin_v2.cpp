#include "plugin_v2.h"

#include "logging.h"

#include <exception>
#include <memory>

#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#endif

namespace onnx_fix
{
namespace
{

// A new plugin in a namespace, or null with a message.
GatherElementsV2* make(char const* where, Parameters const& parameters, std::string const& space,
    Declared declared = Declared::kNotAsked) noexcept
{
    try
    {
        std::unique_ptr<GatherElementsV2> made{new GatherElementsV2(parameters, declared)};
        made->setPluginNamespace(space.c_str());
        return made.release();
    }
    catch (std::exception const& error)
    {
        logError(where, error.what());
    }
    catch (...)
    {
        logError(where, "unknown exception");
    }
    return nullptr;
}

void assign(char const* where, std::string& to, char const* value) noexcept
{
    try
    {
        to = value == nullptr ? "" : value;
    }
    catch (std::exception const& error)
    {
        logError(where, error.what());
    }
}

} // namespace

GatherElementsV2::GatherElementsV2(Parameters const& parameters, Declared declared)
    : mParameters(parameters)
    , mDeclared(declared)
    , mNamespace(kPluginNamespace)
{
}

nvinfer1::IPluginV2DynamicExt* GatherElementsV2::clone() const noexcept
{
    return make("clone", mParameters, mNamespace, mDeclared.get());
}

nvinfer1::DimsExprs GatherElementsV2::getOutputDimensions(int32_t outputIndex, nvinfer1::DimsExprs const* inputs,
    int32_t nbInputs, nvinfer1::IExprBuilder& /*exprBuilder*/) noexcept
{
    int32_t place = 0;
    Fault const fault = outputIndex != 0 || inputs == nullptr || nbInputs != kInputs
        ? Fault::kCount
        : checkRanks(inputs[0].nbDims, inputs[1].nbDims, mParameters.axis, place);
    if (fault != Fault::kNone)
    {
        logFault("getOutputDimensions", fault);
        nvinfer1::DimsExprs invalid{};
        invalid.nbDims = -1;
        return invalid;
    }
    return inputs[1];
}

bool GatherElementsV2::supportsFormatCombination(
    int32_t pos, nvinfer1::PluginTensorDesc const* inOut, int32_t nbInputs, int32_t nbOutputs) noexcept
{
    if (inOut == nullptr || pos < 0 || pos >= kTensors)
    {
        return false;
    }
    Spec specs[kTensors]{};
    for (int32_t k = 0; k <= pos; ++k)
    {
        specs[k] = specOf(inOut[k]);
    }
    return supports(specs, pos, nbInputs, nbOutputs, mDeclared.get());
}

void GatherElementsV2::configurePlugin(nvinfer1::DynamicPluginTensorDesc const* /*in*/, int32_t /*nbInputs*/,
    nvinfer1::DynamicPluginTensorDesc const* /*out*/, int32_t /*nbOutputs*/) noexcept
{
    // Everything that depends on shapes or types is read from what enqueue is given.
}

size_t GatherElementsV2::getWorkspaceSize(nvinfer1::PluginTensorDesc const* /*inputs*/, int32_t /*nbInputs*/,
    nvinfer1::PluginTensorDesc const* /*outputs*/, int32_t /*nbOutputs*/) const noexcept
{
    return 0;
}

int32_t GatherElementsV2::enqueue(nvinfer1::PluginTensorDesc const* inputDesc,
    nvinfer1::PluginTensorDesc const* outputDesc, void const* const* inputs, void* const* outputs, void* /*workspace*/,
    cudaStream_t stream) noexcept
{
    cudaError_t status = cudaSuccess;
    Fault const fault = run(mParameters, inputDesc, outputDesc, inputs, outputs, stream, status);
    return resultOf("enqueue", fault, status);
}

nvinfer1::DataType GatherElementsV2::getOutputDataType(
    int32_t index, nvinfer1::DataType const* inputTypes, int32_t nbInputs) const noexcept
{
    Element output = Element::kOther;
    Fault const fault = index != 0 || inputTypes == nullptr || nbInputs != kInputs
        ? Fault::kCount
        : outputType(elementOf(inputTypes[0]), elementOf(inputTypes[1]), output);
    if (fault != Fault::kNone)
    {
        // The method has no way to refuse; no format is supported afterwards, which ends the build.
        logFault("getOutputDataType", fault);
    }
    if (fault == Fault::kCount)
    {
        return nvinfer1::DataType::kFLOAT;
    }
    mDeclared.note(inputTypes[0]);
    return inputTypes[0];
}

char const* GatherElementsV2::getPluginType() const noexcept
{
    return kPluginName;
}

char const* GatherElementsV2::getPluginVersion() const noexcept
{
    return kPluginVersion;
}

int32_t GatherElementsV2::getNbOutputs() const noexcept
{
    return kOutputs;
}

int32_t GatherElementsV2::initialize() noexcept
{
    return 0;
}

void GatherElementsV2::terminate() noexcept {}

size_t GatherElementsV2::getSerializationSize() const noexcept
{
    return kSerializedBytes;
}

void GatherElementsV2::serialize(void* buffer) const noexcept
{
    write(mParameters, buffer);
}

void GatherElementsV2::destroy() noexcept
{
    delete this;
}

void GatherElementsV2::setPluginNamespace(char const* pluginNamespace) noexcept
{
    assign("setPluginNamespace", mNamespace, pluginNamespace);
}

char const* GatherElementsV2::getPluginNamespace() const noexcept
{
    return mNamespace.c_str();
}

GatherElementsCreatorV2::GatherElementsCreatorV2()
    : mField{kAxisField, nullptr, nvinfer1::PluginFieldType::kINT32, 1}
    , mFields{}
    , mNamespace(kPluginNamespace)
{
    mFields.nbFields = 1;
    mFields.fields = &mField;
}

char const* GatherElementsCreatorV2::getPluginName() const noexcept
{
    return kPluginName;
}

char const* GatherElementsCreatorV2::getPluginVersion() const noexcept
{
    return kPluginVersion;
}

nvinfer1::PluginFieldCollection const* GatherElementsCreatorV2::getFieldNames() noexcept
{
    return &mFields;
}

nvinfer1::IPluginV2* GatherElementsCreatorV2::createPlugin(
    char const* /*name*/, nvinfer1::PluginFieldCollection const* fc) noexcept
{
    Parameters parameters{};
    Fault const fault = readFields(fc, parameters);
    if (fault != Fault::kNone)
    {
        logFault("createPlugin", fault);
        return nullptr;
    }
    return make("createPlugin", parameters, mNamespace);
}

nvinfer1::IPluginV2* GatherElementsCreatorV2::deserializePlugin(
    char const* /*name*/, void const* serialData, size_t serialLength) noexcept
{
    Parameters parameters{};
    Fault const fault = read(serialData, serialLength, parameters);
    if (fault != Fault::kNone)
    {
        logFault("deserializePlugin", fault);
        return nullptr;
    }
    return make("deserializePlugin", parameters, mNamespace);
}

void GatherElementsCreatorV2::setPluginNamespace(char const* pluginNamespace) noexcept
{
    assign("setPluginNamespace", mNamespace, pluginNamespace);
}

char const* GatherElementsCreatorV2::getPluginNamespace() const noexcept
{
    return mNamespace.c_str();
}

} // namespace onnx_fix
