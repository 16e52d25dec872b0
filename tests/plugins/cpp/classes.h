// What the tests of both plugin classes share: checks, descriptors, a logger, and a kernel that only
// notes what it was asked (or, with ONNX_FIX_ON_GPU, the real one and a comparison on a GPU).

#ifndef ONNX_FIX_TESTS_CLASSES_H
#define ONNX_FIX_TESTS_CLASSES_H

#include "logging.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <memory>
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

class OnGpu
{
public:
    explicit OnGpu(size_t bytes)
    {
        // Some bytes at least, since an empty tensor may have any address.
        CHECK(cudaMalloc(&mAt, bytes + 16) == cudaSuccess);
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

class Stream
{
public:
    Stream()
    {
        CHECK(cudaStreamCreateWithFlags(&mStream, cudaStreamNonBlocking) == cudaSuccess);
    }
    Stream(Stream const&) = delete;
    Stream& operator=(Stream const&) = delete;
    ~Stream()
    {
        cudaStreamDestroy(mStream);
    }
    operator cudaStream_t() const
    {
        return mStream;
    }

private:
    cudaStream_t mStream{nullptr};
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

// One gather: its buffers on the GPU, and what the output must be. Threads may have one each.
class Gather
{
public:
    Gather(DataType type, DataType indexType, std::vector<int64_t> const& data, std::vector<int64_t> const& indices,
        size_t place)
        : mData(data)
        , mIndices(indices)
        , mPlace(place)
        , mBytes(static_cast<size_t>(onnx_fix::bytesOf(onnx_fix::elementOf(type))))
        , mIndexBytes(indexType == DataType::kINT32 ? 4 : 8)
        , mIn{descOf(type, data), descOf(indexType, indices)}
        , mOut{descOf(type, indices)}
        , mValues(static_cast<size_t>(elements(data)) * mBytes)
        , mPlaces(static_cast<size_t>(elements(indices)) * mIndexBytes)
        , mExpected(static_cast<size_t>(elements(indices)) * mBytes)
        , mHave(mExpected.size())
        , mOnData(mValues.size())
        , mOnIndices(mPlaces.size())
        , mOnOutput(mExpected.size())
    {
    }

    // New data and indices; false where CUDA fails.
    bool fill(std::mt19937& draw, cudaStream_t stream)
    {
        for (unsigned char& value : mValues)
        {
            value = static_cast<unsigned char>(mIn[0].type == DataType::kBOOL ? draw() & 1U : draw() & 0xFFU);
        }
        int64_t const count = elements(mIndices);
        int64_t const size = mData[mPlace];
        for (int64_t flat = 0; flat < count; ++flat)
        {
            int64_t const where = static_cast<int64_t>(draw() % (2 * size)) - size;
            if (mIndexBytes == 4)
            {
                int32_t const narrow = static_cast<int32_t>(where);
                std::memcpy(&mPlaces[static_cast<size_t>(flat) * 4], &narrow, 4);
            }
            else
            {
                std::memcpy(&mPlaces[static_cast<size_t>(flat) * 8], &where, 8);
            }
            int64_t rest = flat;
            int64_t stride = 1;
            int64_t from = 0;
            for (size_t k = mData.size(); k-- > 0;)
            {
                int64_t at = rest % mIndices[k];
                rest /= mIndices[k];
                if (k == mPlace)
                {
                    at = where < 0 ? where + size : where;
                }
                from += at * stride;
                stride *= mData[k];
            }
            std::memcpy(&mExpected[static_cast<size_t>(flat) * mBytes], &mValues[static_cast<size_t>(from) * mBytes],
                mBytes);
        }
        auto const up = cudaMemcpyHostToDevice;
        return cudaMemcpyAsync(mOnData.at(), mValues.data(), mValues.size(), up, stream) == cudaSuccess
            && cudaMemcpyAsync(mOnIndices.at(), mPlaces.data(), mPlaces.size(), up, stream) == cudaSuccess
            && cudaStreamSynchronize(stream) == cudaSuccess;
    }

    // Makes the output wrong, in the order of the stream.
    bool spoil(cudaStream_t stream)
    {
        return cudaMemsetAsync(mOnOutput.at(), 0xA5, mExpected.size() + 16, stream) == cudaSuccess;
    }

    bool run(Enqueue const& enqueue, cudaStream_t stream) const
    {
        void const* inputs[]{mOnData.at(), mOnIndices.at()};
        void* outputs[]{mOnOutput.at()};
        return enqueue(mIn, mOut, inputs, outputs, stream) == 0;
    }

    // Waits for the stream and compares.
    bool right(cudaStream_t stream)
    {
        return cudaMemcpyAsync(mHave.data(), mOnOutput.at(), mHave.size(), cudaMemcpyDeviceToHost, stream) == cudaSuccess
            && cudaStreamSynchronize(stream) == cudaSuccess && mHave == mExpected;
    }

private:
    std::vector<int64_t> const mData;
    std::vector<int64_t> const mIndices;
    size_t const mPlace;
    size_t const mBytes;
    size_t const mIndexBytes;
    PluginTensorDesc const mIn[2];
    PluginTensorDesc const mOut[1];
    std::vector<unsigned char> mValues;
    std::vector<unsigned char> mPlaces;
    std::vector<unsigned char> mExpected;
    std::vector<unsigned char> mHave;
    OnGpu const mOnData;
    OnGpu const mOnIndices;
    OnGpu const mOnOutput;
};

inline void gatherOnGpu(Enqueue const& enqueue, std::mt19937& draw, DataType type, DataType indexType,
    std::vector<int64_t> const& data, std::vector<int64_t> const& indices, size_t place)
{
    Stream const stream;
    Gather gather(type, indexType, data, indices, place);
    CHECK(gather.fill(draw, stream) && gather.spoil(stream));
    CHECK(gather.run(enqueue, stream));
    CHECK(gather.right(stream));
}

using Gathers = std::vector<std::unique_ptr<Gather>>;

// Gathers of several ranks, types and sizes that one plugin with the axis 0 or -1 can do; with large
// ones among them, which the kernel does otherwise.
inline Gathers severalGathers(std::mt19937& draw, int32_t axis)
{
    auto const types = dataTypes();
    uint32_t const most[]{100000, 600, 60, 20, 9};
    Gathers gathers;
    for (size_t rank = 1; rank <= 5; ++rank)
    {
        size_t const place = axis < 0 ? rank - 1 : 0;
        std::vector<int64_t> data;
        std::vector<int64_t> indices;
        for (size_t k = 0; k < rank; ++k)
        {
            data.push_back(1 + static_cast<int64_t>(draw() % most[rank - 1]));
            indices.push_back(1 + static_cast<int64_t>(draw() % static_cast<uint32_t>(data[k])));
        }
        indices[place] = 1 + static_cast<int64_t>(draw() % most[rank - 1]);
        DataType const indexType = isIndexType(types.back()) && rank % 2 == 0 ? types.back() : DataType::kINT32;
        gathers.emplace_back(new Gather(types[draw() % types.size()], indexType, data, indices, place));
    }
    int64_t const more = static_cast<int64_t>(draw() % 64);
    std::vector<int64_t> const large = axis < 0 ? std::vector<int64_t>{300 + more, 4096} : std::vector<int64_t>{1024 + more, 2048};
    gathers.emplace_back(new Gather(
        draw() % 2 == 0 ? DataType::kFLOAT : DataType::kHALF, DataType::kINT32, large, large, axis < 0 ? 1 : 0));
    return gathers;
}

// What a thread gets its plugin from; it is called in that thread, as contexts are made there.
using Context = std::function<Enqueue()>;

// Eight threads with a stream and shapes of their own enqueue at the same time. Returns the gathers run.
inline int checkThreadsOnGpu(Context const& context, int32_t axis, unsigned seed)
{
    int const rounds = 12;
    size_t const many = 8;
    std::mt19937 draw(seed);
    std::vector<Gathers> work;
    std::vector<std::unique_ptr<Stream>> streams;
    for (size_t number = 0; number < many; ++number)
    {
        work.push_back(severalGathers(draw, axis));
        streams.emplace_back(new Stream());
        for (auto const& gather : work.back())
        {
            CHECK(gather->fill(draw, *streams.back()));
        }
    }
    std::atomic<size_t> ready{0};
    std::vector<int> wrong(many, 0);
    std::vector<std::thread> threads;
    for (size_t number = 0; number < many; ++number)
    {
        threads.emplace_back([&, number]() {
            Enqueue const enqueue = context();
            cudaStream_t const stream = *streams[number];
            ++ready;
            while (ready.load() < many)
            {
            }
            for (int round = 0; round < rounds; ++round)
            {
                for (auto const& gather : work[number])
                {
                    wrong[number] += gather->spoil(stream) && gather->run(enqueue, stream) ? 0 : 1;
                }
                for (auto const& gather : work[number])
                {
                    wrong[number] += gather->right(stream) ? 0 : 1;
                }
            }
        });
    }
    for (std::thread& thread : threads)
    {
        thread.join();
    }
    int gathers = 0;
    for (size_t number = 0; number < many; ++number)
    {
        CHECK(wrong[number] == 0);
        gathers += rounds * static_cast<int>(work[number].size());
    }
    return gathers;
}

// enqueue in a CUDA graph, replayed with other data and indices. While a stream is captured in this mode
// CUDA refuses what would allocate or wait, and the capture is lost.
inline int checkGraph(Enqueue const& enqueue, int32_t axis)
{
    std::mt19937 draw(5);
    Gathers const gathers = severalGathers(draw, axis);
    Stream const stream;
    cudaGraph_t graph = nullptr;
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal) == cudaSuccess);
    for (auto const& gather : gathers)
    {
        CHECK(gather->run(enqueue, stream));
    }
    CHECK(cudaStreamEndCapture(stream, &graph) == cudaSuccess);
    size_t count = 0;
    CHECK(cudaGraphGetNodes(graph, nullptr, &count) == cudaSuccess && count >= gathers.size());
    std::vector<cudaGraphNode_t> nodes(count);
    CHECK(cudaGraphGetNodes(graph, nodes.data(), &count) == cudaSuccess);
    for (cudaGraphNode_t node : nodes)
    {
        cudaGraphNodeType kind = cudaGraphNodeTypeEmpty;
        CHECK(cudaGraphNodeGetType(node, &kind) == cudaSuccess && kind == cudaGraphNodeTypeKernel);
    }
    cudaGraphExec_t ready = nullptr;
    CHECK(cudaGraphInstantiateWithFlags(&ready, graph, 0) == cudaSuccess);
    int const rounds = 4;
    for (int round = 0; round < rounds; ++round)
    {
        for (auto const& gather : gathers)
        {
            CHECK(gather->fill(draw, stream) && gather->spoil(stream));
        }
        CHECK(cudaGraphLaunch(ready, stream) == cudaSuccess);
        for (auto const& gather : gathers)
        {
            CHECK(gather->right(stream));
        }
    }
    cudaGraphExecDestroy(ready);
    cudaGraphDestroy(graph);
    return rounds * static_cast<int>(gathers.size());
}

// Random shapes of every rank, all types, through a plugin made for the axis.
inline int checkOnGpu(std::function<Enqueue(int32_t)> const& pluginOf)
{
    std::mt19937 draw(20);
    int cases = 0;
    for (DataType type : dataTypes())
    {
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
                gatherOnGpu(enqueue, draw, type, DataType::kINT32, data, indices, place);
                ++cases;
#if ONNX_FIX_HAS_WIDE_TYPES
                gatherOnGpu(enqueue, draw, type, DataType::kINT64, data, indices, place);
                ++cases;
#endif
            }
        }
    }
    return cases;
}

// All of it: `shared` gives a plugin for an axis that threads share, `attached` one that makes contexts of
// its own (attachToContext or clone, as TensorRT does).
inline void checkAllOnGpu(
    char const* name, std::function<Enqueue(int32_t)> const& shared, std::function<Context(int32_t)> const& attached)
{
    int replayed = 0;
    int threaded = 0;
    for (int32_t axis : {0, -1})
    {
        replayed += checkGraph(shared(axis), axis);
        Enqueue const one = shared(axis);
        threaded += checkThreadsOnGpu([&one]() { return one; }, axis, 1);
        threaded += checkThreadsOnGpu(attached(axis), axis, 2);
    }
    std::printf("%d gathers through %s::enqueue\n", checkOnGpu(shared), name);
    std::printf("%d from eight threads\n%d in replayed graphs\n", threaded, replayed);
}
#endif

#endif
