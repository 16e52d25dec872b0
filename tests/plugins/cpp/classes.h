// What the tests of both plugin classes share: checks, descriptors, a logger, and a kernel that only
// notes what it was asked (or, with ONNX_FIX_ON_GPU, the real one and a comparison on a GPU).

#ifndef ONNX_FIX_TESTS_CLASSES_H
#define ONNX_FIX_TESTS_CLASSES_H

#include "logging.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

using namespace nvinfer1;
using onnx_fix::GatherElementsArgs;

#define CHECK(condition)                                                                                               \
    do                                                                                                                 \
    {                                                                                                                  \
        if (!(condition))                                                                                              \
        {                                                                                                              \
            std::printf("line %d: %s\n", __LINE__, #condition);                                                        \
            ++failures();                                                                                              \
        }                                                                                                              \
    } while (false)

inline int& failures()
{
    static int count = 0;
    return count;
}

// -- TensorRT's side ------------------------------------------------------------------------------

class Log : public ILogger
{
public:
    void log(Severity severity, char const* text) noexcept override
    {
        std::lock_guard<std::mutex> guard(mMutex);
        if (severity == Severity::kERROR)
        {
            mLast = text;
        }
    }

    // Whether the last error holds a text; it is forgotten then.
    bool said(char const* text)
    {
        std::lock_guard<std::mutex> guard(mMutex);
        bool const found = mLast.find(text) != std::string::npos && mLast.find("GatherElementsPlugin::") == 0;
        if (!found)
        {
            std::printf("the logger has: %s\n", mLast.c_str());
        }
        mLast.clear();
        return found;
    }

    bool silent()
    {
        std::lock_guard<std::mutex> guard(mMutex);
        return mLast.empty();
    }

private:
    std::mutex mMutex;
    std::string mLast;
};

inline Log& logged()
{
    static Log only;
    return only;
}

#if ONNX_FIX_TENSORRT_MAJOR >= 8
#define ONNX_FIX_NOEXCEPT noexcept
#else
#define ONNX_FIX_NOEXCEPT
#endif

extern "C" ILogger* getLogger() ONNX_FIX_NOEXCEPT
{
    return &logged();
}

// A TensorRT of another major version, whose registry must not be touched.
extern "C" int32_t getInferLibVersion() ONNX_FIX_NOEXCEPT
{
    return 60104;
}

extern "C" IPluginRegistry* getPluginRegistry() ONNX_FIX_NOEXCEPT
{
    std::printf("the registry of another version was asked for\n");
    std::abort();
}

extern "C" int32_t onnxFixRegisterPlugins() noexcept;

// -- the kernel -----------------------------------------------------------------------------------

#if !defined(ONNX_FIX_ON_GPU)
struct Launch
{
    int calls;
    GatherElementsArgs args;
    cudaStream_t stream;
    cudaError_t answer;
};

inline Launch& launched()
{
    static thread_local Launch last{0, GatherElementsArgs{}, nullptr, cudaSuccess};
    return last;
}

namespace onnx_fix
{
cudaError_t launchGatherElements(GatherElementsArgs const& args, cudaStream_t stream) noexcept
{
    Launch& last = launched();
    ++last.calls;
    last.args = args;
    last.stream = stream;
    return last.answer;
}
} // namespace onnx_fix
#endif

// -- descriptors ----------------------------------------------------------------------------------

inline Dims dimsOf(std::vector<int64_t> const& sizes)
{
    Dims dims{};
    dims.nbDims = static_cast<int32_t>(sizes.size());
    for (size_t k = 0; k < sizes.size(); ++k)
    {
        dims.d[k] = static_cast<decltype(+dims.d[0])>(sizes[k]);
    }
    return dims;
}

inline PluginTensorDesc descOf(DataType type, std::vector<int64_t> const& sizes, float scale = -1.0F)
{
    PluginTensorDesc desc{};
    desc.dims = dimsOf(sizes);
    desc.type = type;
    desc.format = TensorFormat::kLINEAR;
    desc.scale = scale;
    return desc;
}

// The types that a release has, those that the plugin takes as data first; indices by number.
inline std::vector<DataType> dataTypes()
{
    std::vector<DataType> types{DataType::kFLOAT, DataType::kHALF, DataType::kINT8, DataType::kINT32, DataType::kBOOL};
#if ONNX_FIX_HAS_WIDE_TYPES
    types.push_back(DataType::kBF16);
    types.push_back(DataType::kINT64);
#endif
    return types;
}

inline std::vector<DataType> allTypes()
{
    std::vector<DataType> types = dataTypes();
#if ONNX_FIX_HAS_ENTRY_POINTS
    types.push_back(DataType::kUINT8);
    types.push_back(DataType::kFP8);
#endif
    return types;
}

inline bool isIndexType(DataType type)
{
#if ONNX_FIX_HAS_WIDE_TYPES
    return type == DataType::kINT32 || type == DataType::kINT64;
#else
    return type == DataType::kINT32;
#endif
}

inline PluginFieldCollection fieldsOf(std::vector<PluginField> const& fields)
{
    PluginFieldCollection collection{};
    collection.nbFields = static_cast<int32_t>(fields.size());
    collection.fields = fields.data();
    return collection;
}

// Stands for objects that the plugin passes on and never looks into.
inline void* opaque()
{
    alignas(16) static char storage[64];
    return storage;
}

using Supports = std::function<bool(int32_t, PluginTensorDesc const*, int32_t, int32_t)>;
// The formats of a clone of a plugin that was asked for its output's type, with data of one type, or of
// one that was not asked.
using Choice = std::function<Supports(DataType const*)>;
using Enqueue = std::function<int32_t(
    PluginTensorDesc const*, PluginTensorDesc const*, void const* const*, void* const*, cudaStream_t)>;

// A builder that quantizes by itself must not end at INT8 unless data and output have one scale, and
// must not be kept from INT8 where the network itself has it.
inline void checkInt8(Choice const& choice)
{
    DataType const int8 = DataType::kINT8;
    DataType const real = DataType::kFLOAT;
    struct Case
    {
        DataType const* declared;
        float data;
        float output;
        bool taken;
    };
    Case const cases[]{{nullptr, -1.0F, -1.0F, true}, {nullptr, 0.5F, 0.5F, true}, {nullptr, 0.5F, 0.25F, false},
        {&int8, -1.0F, -1.0F, true}, {&int8, 0.0F, 0.0F, true}, {&int8, 0.5F, 0.25F, false},
        {&real, -1.0F, -1.0F, false}, {&real, 0.0F, 0.0F, false}, {&real, 0.5F, -1.0F, false},
        {&real, 0.5F, 0.25F, false}, {&real, 0.5F, 0.5F, true}};
    for (Case const& one : cases)
    {
        Supports const supports = choice(one.declared);
        PluginTensorDesc descs[]{descOf(int8, {2}, one.data), descOf(DataType::kINT32, {2}),
            descOf(int8, {2}, one.output)};
        CHECK(supports(0, descs, 2, 1) && supports(1, descs, 2, 1));
        CHECK(supports(2, descs, 2, 1) == one.taken);
        // The floats stay open whatever is known of INT8.
        for (DataType type : {DataType::kFLOAT, DataType::kHALF})
        {
            descs[0].type = descs[2].type = type;
            CHECK(supports(0, descs, 2, 1) && supports(2, descs, 2, 1));
        }
    }
}

inline void checkFormats(Choice const& choice)
{
    checkInt8(choice);
    Supports const supports = choice(nullptr);
    auto const types = allTypes();
    auto const taken = dataTypes();
    for (DataType data : types)
    {
        bool isData = false;
        for (DataType one : taken)
        {
            isData = isData || one == data;
        }
        for (DataType indices : types)
        {
            for (DataType output : types)
            {
                PluginTensorDesc descs[]{descOf(data, {2, 3}), descOf(indices, {2, 2}), descOf(output, {2, 2})};
                CHECK(supports(0, descs, 2, 1) == isData);
                CHECK(supports(1, descs, 2, 1) == isIndexType(indices));
                CHECK(supports(2, descs, 2, 1) == (isData && output == data));
                CHECK(!supports(3, descs, 2, 1));
                CHECK(!supports(-1, descs, 2, 1));
                CHECK(!supports(0, descs, 1, 1));
                descs[0].format = TensorFormat::kCHW4;
                CHECK(!supports(0, descs, 2, 1));
            }
        }
    }
    CHECK(!supports(0, nullptr, 2, 1));
}

#if !defined(ONNX_FIX_ON_GPU)
inline void checkEnqueue(Enqueue const& enqueue, int32_t axis, int32_t place)
{
    float data[6]{};
    int32_t indices[4]{};
    float output[4]{};
    void const* inputs[]{data, indices};
    void* outputs[]{output};
    cudaStream_t const stream = static_cast<cudaStream_t>(opaque());
    PluginTensorDesc in[]{descOf(DataType::kHALF, {2, 3}), descOf(DataType::kINT32, {2, 2})};
    PluginTensorDesc out[]{descOf(DataType::kHALF, {2, 2})};
    launched() = Launch{0, GatherElementsArgs{}, nullptr, cudaSuccess};
    CHECK(enqueue(in, out, inputs, outputs, stream) == 0);
    GatherElementsArgs const& args = launched().args;
    CHECK(launched().calls == 1 && launched().stream == stream);
    CHECK(args.rank == 2 && args.axis == place && args.elementBytes == 2 && !args.index64);
    CHECK(args.dataDims[0] == 2 && args.dataDims[1] == 3 && args.indexDims[0] == 2 && args.indexDims[1] == 2);
    CHECK(args.data == data && args.indices == indices && args.output == output && args.outOfRange == nullptr);
    CHECK(axis == place || axis + 2 == place);
#if ONNX_FIX_HAS_WIDE_TYPES
    in[1].type = DataType::kINT64;
    CHECK(enqueue(in, out, inputs, outputs, stream) == 0);
    CHECK(launched().calls == 2 && launched().args.index64);
    in[1].type = DataType::kINT32;
#endif
    launched().calls = 0;
    CHECK(logged().silent());

    launched().answer = cudaErrorInvalidConfiguration;
    CHECK(enqueue(in, out, inputs, outputs, stream) == 1);
    CHECK(logged().said("enqueue: "));
    launched() = Launch{0, GatherElementsArgs{}, nullptr, cudaSuccess};

    in[1].dims = dimsOf({0, 2});
    out[0].dims = dimsOf({0, 2});
    CHECK(enqueue(in, out, inputs, outputs, stream) == 0);
    void const* nothing[]{nullptr, nullptr};
    void* nowhere[]{nullptr};
    CHECK(enqueue(in, out, nothing, nowhere, stream) == 0);
    CHECK(logged().silent());

    // Shapes that would have the kernel read or write outside of the buffers.
    in[1].dims = dimsOf({3, 2});
    out[0].dims = dimsOf({3, 2});
    CHECK(enqueue(in, out, inputs, outputs, stream) == 1);
    CHECK(logged().said("longer than the data"));
    in[1].dims = dimsOf({2, 2});
    CHECK(enqueue(in, out, inputs, outputs, stream) == 1);
    CHECK(logged().said("not of the shape of the indices"));
    out[0].dims = dimsOf({2, 2});
    in[0].dims = dimsOf({2, 0});
    CHECK(enqueue(in, out, inputs, outputs, stream) == 1);
    CHECK(logged().said("no elements along the axis"));
    in[0].dims = dimsOf({2, 3});
    CHECK(enqueue(in, out, nothing, outputs, stream) == 1);
    CHECK(logged().said("a buffer is missing"));
    CHECK(enqueue(in, out, inputs, nullptr, stream) == 1);
    CHECK(logged().said("a buffer is missing"));
    out[0].type = DataType::kFLOAT;
    CHECK(enqueue(in, out, inputs, outputs, stream) == 1);
    CHECK(logged().said("of the type of the data"));
    in[0] = descOf(DataType::kINT8, {2, 3}, 0.5F);
    out[0] = descOf(DataType::kINT8, {2, 2}, 0.25F);
    CHECK(enqueue(in, out, inputs, outputs, stream) == 1);
    CHECK(logged().said("different scales"));
    CHECK(launched().calls == 0);
}

// Contexts enqueue at the same time, each with shapes of its own.
inline void checkThreads(Enqueue const& enqueue, int32_t place)
{
    std::vector<std::thread> threads;
    std::vector<int> wrong(8, 0);
    for (size_t number = 0; number < wrong.size(); ++number)
    {
        threads.emplace_back([&enqueue, &wrong, number, place]() {
            int64_t const size = static_cast<int64_t>(number) + 2;
            char buffer[8]{};
            void const* inputs[]{buffer, buffer};
            void* outputs[]{buffer};
            PluginTensorDesc const in[]{descOf(DataType::kFLOAT, {size, size}), descOf(DataType::kINT32, {size, 2})};
            PluginTensorDesc const out[]{descOf(DataType::kFLOAT, {size, 2})};
            for (int k = 0; k < 2000; ++k)
            {
                bool const ok = enqueue(in, out, inputs, outputs, nullptr) == 0 && launched().args.dataDims[0] == size
                    && launched().args.axis == place && launched().args.data == buffer;
                wrong[number] += ok ? 0 : 1;
            }
        });
    }
    for (std::thread& thread : threads)
    {
        thread.join();
    }
    for (int count : wrong)
    {
        CHECK(count == 0);
    }
}
#else

template <typename T>
class OnGpu
{
public:
    explicit OnGpu(std::vector<T> const& values)
    {
        // One element at least, since an empty tensor may have any address.
        CHECK(cudaMalloc(&mAt, values.size() * sizeof(T) + 16) == cudaSuccess);
        CHECK(cudaMemcpy(mAt, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice) == cudaSuccess);
    }
    OnGpu(OnGpu const&) = delete;
    OnGpu& operator=(OnGpu const&) = delete;
    ~OnGpu()
    {
        cudaFree(mAt);
    }
    void* at() const
    {
        return mAt;
    }

private:
    void* mAt{nullptr};
};

inline int64_t elements(std::vector<int64_t> const& sizes)
{
    int64_t count = 1;
    for (int64_t size : sizes)
    {
        count *= size;
    }
    return count;
}

template <typename Index>
void gatherOnGpu(Enqueue const& enqueue, std::mt19937& draw, DataType type, int32_t bytes, DataType indexType,
    std::vector<int64_t> const& data, std::vector<int64_t> const& indices, size_t place)
{
    int64_t const count = elements(indices);
    std::vector<unsigned char> values(static_cast<size_t>(elements(data) * bytes));
    for (unsigned char& value : values)
    {
        value = static_cast<unsigned char>(type == DataType::kBOOL ? draw() & 1U : draw() & 0xFFU);
    }
    std::vector<Index> where(static_cast<size_t>(count));
    for (Index& index : where)
    {
        index = static_cast<Index>(static_cast<int64_t>(draw() % (2 * data[place])) - data[place]);
    }
    std::vector<unsigned char> have(static_cast<size_t>(count * bytes), 0xA5);
    OnGpu<unsigned char> const onData(values);
    OnGpu<Index> const onIndices(where);
    OnGpu<unsigned char> const onOutput(have);
    void const* inputs[]{onData.at(), onIndices.at()};
    void* outputs[]{onOutput.at()};
    PluginTensorDesc const in[]{descOf(type, data), descOf(indexType, indices)};
    PluginTensorDesc const out[]{descOf(type, indices)};
    cudaStream_t stream = nullptr;
    CHECK(cudaStreamCreate(&stream) == cudaSuccess);
    CHECK(enqueue(in, out, inputs, outputs, stream) == 0);
    CHECK(cudaStreamSynchronize(stream) == cudaSuccess);
    CHECK(cudaMemcpy(have.data(), onOutput.at(), have.size(), cudaMemcpyDeviceToHost) == cudaSuccess);
    cudaStreamDestroy(stream);
    int64_t wrong = 0;
    for (int64_t flat = 0; flat < count; ++flat)
    {
        int64_t rest = flat;
        int64_t stride = 1;
        int64_t from = 0;
        for (size_t k = data.size(); k-- > 0;)
        {
            int64_t at = rest % indices[k];
            rest /= indices[k];
            if (k == place)
            {
                at = static_cast<int64_t>(where[static_cast<size_t>(flat)]);
                at += at < 0 ? data[k] : 0;
            }
            from += at * stride;
            stride *= data[k];
        }
        wrong += std::memcmp(&have[static_cast<size_t>(flat * bytes)], &values[static_cast<size_t>(from * bytes)],
                     static_cast<size_t>(bytes))
                != 0
            ? 1
            : 0;
    }
    CHECK(wrong == 0);
}

// Random shapes of every rank, all types, through a plugin made for the axis.
inline int checkOnGpu(std::function<Enqueue(int32_t)> const& pluginOf)
{
    std::mt19937 draw(20);
    int cases = 0;
    for (DataType type : dataTypes())
    {
        int32_t const bytes = onnx_fix::bytesOf(onnx_fix::elementOf(type));
        for (size_t rank = 1; rank <= 8; ++rank)
        {
            for (int round = 0; round < 6; ++round)
            {
                int64_t const most = rank < 3 ? 70 : rank < 5 ? 9 : 4;
                size_t const place = draw() % rank;
                std::vector<int64_t> data;
                std::vector<int64_t> indices;
                for (size_t k = 0; k < rank; ++k)
                {
                    data.push_back(1 + static_cast<int64_t>(draw() % static_cast<uint32_t>(most)));
                    bool const whole = round % 2 == 0;
                    indices.push_back(whole ? data[k] : static_cast<int64_t>(draw() % static_cast<uint32_t>(data[k] + 1)));
                }
                indices[place] = 1 + static_cast<int64_t>(draw() % 90);
                int32_t const axis = static_cast<int32_t>(place) - (round % 3 == 0 ? static_cast<int32_t>(rank) : 0);
                Enqueue const enqueue = pluginOf(axis);
                gatherOnGpu<int32_t>(enqueue, draw, type, bytes, DataType::kINT32, data, indices, place);
                ++cases;
#if ONNX_FIX_HAS_WIDE_TYPES
                gatherOnGpu<int64_t>(enqueue, draw, type, bytes, DataType::kINT64, data, indices, place);
                ++cases;
#endif
            }
        }
    }
    return cases;
}
#endif

#endif
