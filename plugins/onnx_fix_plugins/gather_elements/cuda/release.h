// The TensorRT headers at hand, what their release has, and TensorRT's words turned into those of
// rules.h.

#ifndef ONNX_FIX_GATHER_ELEMENTS_RELEASE_H
#define ONNX_FIX_GATHER_ELEMENTS_RELEASE_H

#include "gather_elements.h"
#include "rules.h"

#include <NvInfer.h>
#include <NvInferVersion.h>

#include <atomic>
#include <cstring>

// TensorRT-RTX counts its own versions from 1.
#if defined(TRT_MAJOR_RTX)
#define ONNX_FIX_RTX 1
#define ONNX_FIX_TENSORRT_MAJOR 10
#else
#define ONNX_FIX_RTX 0
#define ONNX_FIX_TENSORRT_MAJOR NV_TENSORRT_MAJOR
#endif

// INT64 and BF16 tensors came with 9.0, the classes IPluginV3 with 10.0, ILoggerFinder and the entry
// points of libraries of plugins with 8.6.
#define ONNX_FIX_HAS_WIDE_TYPES (ONNX_FIX_TENSORRT_MAJOR >= 9)
#define ONNX_FIX_HAS_V3 (ONNX_FIX_TENSORRT_MAJOR >= 10)
#define ONNX_FIX_HAS_ENTRY_POINTS                                                                                      \
    (ONNX_FIX_TENSORRT_MAJOR >= 9 || (ONNX_FIX_TENSORRT_MAJOR == 8 && NV_TENSORRT_MINOR >= 6))

namespace onnx_fix
{

inline Element elementOf(nvinfer1::DataType type) noexcept
{
    // No switch: each release has further values, all of which are not taken.
    if (type == nvinfer1::DataType::kFLOAT)
    {
        return Element::kFloat32;
    }
    if (type == nvinfer1::DataType::kHALF)
    {
        return Element::kFloat16;
    }
    if (type == nvinfer1::DataType::kINT8)
    {
        return Element::kInt8;
    }
    if (type == nvinfer1::DataType::kINT32)
    {
        return Element::kInt32;
    }
    if (type == nvinfer1::DataType::kBOOL)
    {
        return Element::kBool;
    }
#if ONNX_FIX_HAS_WIDE_TYPES
    if (type == nvinfer1::DataType::kBF16)
    {
        return Element::kBfloat16;
    }
    if (type == nvinfer1::DataType::kINT64)
    {
        return Element::kInt64;
    }
#endif
    return Element::kOther;
}

inline Spec specOf(nvinfer1::PluginTensorDesc const& desc) noexcept
{
    return Spec{elementOf(desc.type), desc.format == nvinfer1::TensorFormat::kLINEAR, desc.scale};
}

// What type the network gives the data, handed on to clones. TensorRT asks for the type of the output, by
// a const method, before it clones the plugin that it chooses formats with (seen with TensorRT-RTX 1.7).
// Builders for several devices may share a plugin.
class DeclaredType
{
public:
    explicit DeclaredType(Declared declared) noexcept
        : mType(declared)
    {
    }

    void note(nvinfer1::DataType data) const noexcept
    {
        mType.store(elementOf(data) == Element::kInt8 ? Declared::kInt8 : Declared::kOther);
    }

    Declared get() const noexcept
    {
        return mType.load();
    }

private:
    mutable std::atomic<Declared> mType;
};

inline Shape shapeOf(nvinfer1::Dims const& dims) noexcept
{
    Shape shape{};
    shape.rank = dims.nbDims;
    for (int32_t k = 0; k < dims.nbDims && k < kMaxRank; ++k)
    {
        shape.dims[k] = dims.d[k];
    }
    return shape;
}

// The axis among the fields that a parser or an engine passes; 0, as in ONNX, where it is absent.
// An engine may say its layout, too: one that the plugin in Python wrote has the axis alone.
inline Fault readFields(nvinfer1::PluginFieldCollection const* fields, Parameters& parameters) noexcept
{
    parameters.axis = 0;
    int32_t layout = kLayout;
    int32_t const count = fields == nullptr ? 0 : fields->nbFields;
    for (int32_t k = 0; k < count; ++k)
    {
        nvinfer1::PluginField const& field = fields->fields[k];
        if (field.name == nullptr)
        {
            continue;
        }
        bool const isAxis = std::strcmp(field.name, kAxisField) == 0;
        if (!isAxis && std::strcmp(field.name, kLayoutField) != 0)
        {
            continue;
        }
        if (field.data == nullptr || field.length != 1)
        {
            return Fault::kFieldType;
        }
        int32_t value = 0;
        if (field.type == nvinfer1::PluginFieldType::kINT32)
        {
            std::memcpy(&value, field.data, sizeof(value));
        }
#if ONNX_FIX_HAS_V3
        else if (field.type == nvinfer1::PluginFieldType::kINT64)
        {
            int64_t wide = 0;
            std::memcpy(&wide, field.data, sizeof(wide));
            if (wide < -kMaxRank || wide >= kMaxRank)
            {
                return Fault::kAxis;
            }
            value = static_cast<int32_t>(wide);
        }
#endif
        else
        {
            return Fault::kFieldType;
        }
        (isAxis ? parameters.axis : layout) = value;
    }
    return layout == kLayout ? Fault::kNone : Fault::kLayout;
}

// Everything that enqueue does, in whichever class: check on the host, then launch. It allocates
// nothing and changes nothing but the output, so contexts may run it at the same time.
inline Fault run(Parameters const& parameters, nvinfer1::PluginTensorDesc const* inputDesc,
    nvinfer1::PluginTensorDesc const* outputDesc, void const* const* inputs, void* const* outputs, cudaStream_t stream,
    cudaError_t& status) noexcept
{
    status = cudaSuccess;
    if (inputDesc == nullptr || outputDesc == nullptr || inputs == nullptr || outputs == nullptr)
    {
        return Fault::kNullBuffer;
    }
    Spec const data = specOf(inputDesc[0]);
    Spec const indices = specOf(inputDesc[1]);
    Fault fault = checkTypes(data, indices, specOf(outputDesc[0]));
    if (fault != Fault::kNone)
    {
        return fault;
    }
    Shape const dataShape = shapeOf(inputDesc[0].dims);
    Shape const indexShape = shapeOf(inputDesc[1].dims);
    int32_t place = 0;
    fault = checkShapes(dataShape, indexShape, shapeOf(outputDesc[0].dims), parameters.axis, place);
    if (fault != Fault::kNone || !hasElements(indexShape))
    {
        return fault;
    }
    if (inputs[0] == nullptr || inputs[1] == nullptr || outputs[0] == nullptr)
    {
        return Fault::kNullBuffer;
    }
    GatherElementsArgs args{};
    args.rank = dataShape.rank;
    for (int32_t k = 0; k < dataShape.rank; ++k)
    {
        args.dataDims[k] = dataShape.dims[k];
        args.indexDims[k] = indexShape.dims[k];
    }
    args.axis = place;
    args.elementBytes = bytesOf(data.type);
    args.index64 = indices.type == Element::kInt64;
    args.data = inputs[0];
    args.indices = inputs[1];
    args.output = outputs[0];
    args.outOfRange = nullptr;
    status = launchGatherElements(args, stream);
    return Fault::kNone;
}

} // namespace onnx_fix

#endif
