// What the plugin takes and gives, decided once for every plugin class. No TensorRT, no CUDA: a host
// program can compile it alone (tests/plugins does).

#ifndef ONNX_FIX_GATHER_ELEMENTS_RULES_H
#define ONNX_FIX_GATHER_ELEMENTS_RULES_H

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace onnx_fix
{

// As the rewriter writes them into a node.
constexpr char const* kPluginName = "GatherElementsPlugin";
constexpr char const* kPluginVersion = "1";
constexpr char const* kPluginNamespace = "";

constexpr int32_t kInputs = 2; // data, indices
constexpr int32_t kOutputs = 1;
constexpr int32_t kTensors = kInputs + kOutputs;
constexpr int32_t kMaxRank = 8;

enum class Element : int32_t
{
    kFloat32,
    kFloat16,
    kBfloat16,
    kInt8,
    kInt32,
    kInt64,
    kBool,
    kOther
};

// Bytes of one element; 0 for a type that the plugin does not take as data.
inline int32_t bytesOf(Element type) noexcept
{
    switch (type)
    {
    case Element::kInt8:
    case Element::kBool: return 1;
    case Element::kFloat16:
    case Element::kBfloat16: return 2;
    case Element::kFloat32:
    case Element::kInt32: return 4;
    case Element::kInt64: return 8;
    case Element::kOther: break;
    }
    return 0;
}

inline bool isIndex(Element type) noexcept
{
    return type == Element::kInt32 || type == Element::kInt64;
}

enum class Fault : int32_t
{
    kNone,
    kCount,
    kRank,
    kAxis,
    kDataType,
    kIndexType,
    kOutputType,
    kScale,
    kLongIndices,
    kNegativeDim,
    kOutputShape,
    kNothingToGather,
    kNullBuffer,
    kFieldType,
    kLayout,
    kTruncated,
};

inline char const* text(Fault fault) noexcept
{
    switch (fault)
    {
    case Fault::kNone: return "no fault";
    case Fault::kCount: return "it has two inputs (data, indices) and one output";
    case Fault::kRank: return "data and indices must be of one rank, from 1 to 8";
    case Fault::kAxis: return "the axis must be in [-r, r - 1] for data of rank r";
    case Fault::kDataType: return "the data must be FP32, FP16, BF16, INT8, INT32, INT64 or BOOL";
    case Fault::kIndexType: return "the indices must be INT32 or INT64";
    case Fault::kOutputType: return "the output must be of the type of the data";
    case Fault::kScale:
        return "INT8 data and output have different scales; give them one dynamic range, or keep this "
               "layer out of INT8";
    case Fault::kLongIndices: return "the indices are longer than the data in a dimension that is not the axis";
    case Fault::kNegativeDim: return "a dimension is not known";
    case Fault::kOutputShape: return "the output is not of the shape of the indices";
    case Fault::kNothingToGather: return "the data have no elements along the axis, but the output has some";
    case Fault::kNullBuffer: return "a buffer is missing";
    case Fault::kFieldType: return "the field axis must be one INT32 or INT64";
    case Fault::kLayout: return "the engine holds the plugin in a layout that this library does not know";
    case Fault::kTruncated: return "the engine holds too few bytes of the plugin";
    }
    return "unknown fault";
}

// One tensor as a format is being chosen. scale is that of INT8 and below or at 0 where not known.
struct Spec
{
    Element type;
    bool linear;
    float scale;
};

inline bool scalesKnown(Spec const& data, Spec const& output) noexcept
{
    return data.scale > 0.0F && output.scale > 0.0F;
}

inline bool sameScale(Spec const& data, Spec const& output) noexcept
{
    // Elements are copied as they are, so what an INT8 stands for must not change on the way.
    return data.type != Element::kInt8 || !scalesKnown(data, output) || data.scale == output.scale;
}

// What the network says of the data, as far as TensorRT has asked for the type of the output.
enum class Declared : int32_t
{
    kNotAsked,
    kInt8,
    kOther
};

// Whether data and output may be INT8. Data that the network has as INT8 (behind a QuantizeLinear, say)
// can be nothing else, and a copy is what the network asks for. Data of another type become INT8 where
// the builder quantizes by itself, each tensor by a scale of its own: only with scales that are known
// and the same, for otherwise the layer would be refused once its types are chosen. Floats are left then.
inline bool int8Fits(Spec const& data, Spec const& output, Declared declared) noexcept
{
    return declared == Declared::kOther ? scalesKnown(data, output) && data.scale == output.scale
                                        : sameScale(data, output);
}

// Whether tensor `position` (0 data, 1 indices, 2 output) may be as it is described, given those
// before it. What comes after `position` is not looked at.
inline bool supports(
    Spec const* specs, int32_t position, int32_t inputs, int32_t outputs, Declared declared) noexcept
{
    if (specs == nullptr || inputs != kInputs || outputs != kOutputs || position < 0 || position >= kTensors
        || !specs[position].linear)
    {
        return false;
    }
    switch (position)
    {
    case 0: return bytesOf(specs[0].type) != 0;
    case 1: return isIndex(specs[1].type);
    // Types that are not taken are all one here, and need not be the same.
    default:
        return bytesOf(specs[2].type) != 0 && specs[2].type == specs[0].type
            && (specs[2].type != Element::kInt8 || int8Fits(specs[0], specs[2], declared));
    }
}

// The element type of the output.
inline Fault outputType(Element data, Element indices, Element& output) noexcept
{
    if (bytesOf(data) == 0)
    {
        return Fault::kDataType;
    }
    if (!isIndex(indices))
    {
        return Fault::kIndexType;
    }
    output = data;
    return Fault::kNone;
}

// What is known while shapes may still be symbols; `place` becomes the axis counted from the front.
// The output is of the shape of the indices.
inline Fault checkRanks(int32_t dataRank, int32_t indexRank, int32_t axis, int32_t& place) noexcept
{
    if (dataRank < 1 || dataRank > kMaxRank || indexRank != dataRank)
    {
        return Fault::kRank;
    }
    if (axis < -dataRank || axis >= dataRank)
    {
        return Fault::kAxis;
    }
    place = axis < 0 ? axis + dataRank : axis;
    return Fault::kNone;
}

struct Shape
{
    int32_t rank;
    int64_t dims[kMaxRank];
};

// What must hold before a kernel may touch memory.
inline Fault checkShapes(
    Shape const& data, Shape const& indices, Shape const& output, int32_t axis, int32_t& place) noexcept
{
    Fault const ranks = checkRanks(data.rank, indices.rank, axis, place);
    if (ranks != Fault::kNone)
    {
        return ranks;
    }
    if (output.rank != indices.rank)
    {
        return Fault::kOutputShape;
    }
    bool empty = false;
    for (int32_t k = 0; k < data.rank; ++k)
    {
        if (data.dims[k] < 0 || indices.dims[k] < 0)
        {
            return Fault::kNegativeDim;
        }
        if (output.dims[k] != indices.dims[k])
        {
            return Fault::kOutputShape;
        }
        if (k != place && indices.dims[k] > data.dims[k])
        {
            return Fault::kLongIndices;
        }
        empty = empty || indices.dims[k] == 0;
    }
    return !empty && data.dims[place] == 0 ? Fault::kNothingToGather : Fault::kNone;
}

inline bool hasElements(Shape const& shape) noexcept
{
    for (int32_t k = 0; k < shape.rank; ++k)
    {
        if (shape.dims[k] == 0)
        {
            return false;
        }
    }
    return true;
}

inline Fault checkTypes(Spec const& data, Spec const& indices, Spec const& output) noexcept
{
    Element wanted = Element::kOther;
    Fault const fault = outputType(data.type, indices.type, wanted);
    if (fault != Fault::kNone)
    {
        return fault;
    }
    if (output.type != wanted)
    {
        return Fault::kOutputType;
    }
    return sameScale(data, output) ? Fault::kNone : Fault::kScale;
}

// -- what an engine keeps of a plugin -------------------------------------------------------------
//
// As bytes (IPluginV2): four int32 in little-endian order: magic, layout, bytes of what follows, axis.
// As fields (IPluginV3): the INT32 fields "layout" (1 if absent) and "axis". A layout that is not known
// is refused: the meaning of a plugin must not change under an engine.

struct Parameters
{
    int32_t axis;
};

constexpr int32_t kMagic = 0x4547464F; // "OFGE"
constexpr int32_t kLayout = 1;
constexpr int32_t kPayloadBytes = 4;
constexpr size_t kSerializedBytes = 16;
constexpr char const* kAxisField = "axis";
constexpr char const* kLayoutField = "layout";

inline void putInt32(unsigned char*& at, int32_t value) noexcept
{
    uint32_t const bits = static_cast<uint32_t>(value);
    for (int32_t shift = 0; shift < 32; shift += 8)
    {
        *at++ = static_cast<unsigned char>((bits >> shift) & 0xFFU);
    }
}

inline int32_t takeInt32(unsigned char const*& at) noexcept
{
    uint32_t bits = 0;
    for (int32_t shift = 0; shift < 32; shift += 8)
    {
        bits |= static_cast<uint32_t>(*at++) << shift;
    }
    int32_t value = 0;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
}

// Writes kSerializedBytes.
inline void write(Parameters const& parameters, void* buffer) noexcept
{
    unsigned char* at = static_cast<unsigned char*>(buffer);
    putInt32(at, kMagic);
    putInt32(at, kLayout);
    putInt32(at, kPayloadBytes);
    putInt32(at, parameters.axis);
}

inline Fault read(void const* buffer, size_t bytes, Parameters& parameters) noexcept
{
    if (buffer == nullptr || bytes < kSerializedBytes)
    {
        return Fault::kTruncated;
    }
    unsigned char const* at = static_cast<unsigned char const*>(buffer);
    bool const known = takeInt32(at) == kMagic;
    if (!known || takeInt32(at) != kLayout || takeInt32(at) != kPayloadBytes || bytes != kSerializedBytes)
    {
        return Fault::kLayout;
    }
    parameters.axis = takeInt32(at);
    return Fault::kNone;
}

} // namespace onnx_fix

#endif
