// Runs the kernel without TensorRT and compares every output with the definition, computed on the
// host for small cases and by a plain kernel for large ones. Meant for compute-sanitizer too.
//
//     gather_harness random COUNT SEED     cases drawn at random, each by every path that takes it
//     gather_harness file PATH             cases of a file, one a line, as `random` prints them
//     gather_harness large                 more than 2^31 elements in data, in output, in both; and
//                                          what the choice among the paths takes for large only
//     gather_harness refused               arguments that must be refused, and empty tensors
//
// A line: elementBytes indexBytes axis rank dataDims.. indexDims.. shiftData shiftIndices
// shiftOutput kind seed. The shifts move the pointers by so many elements off their allocation;
// kind is 0 (random indices), 1 (expanded along the last axis), 2 (some out of range), 3 (far out).
#include "../gather_elements_index.h"
#include "../gather_elements_tuning.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include <cuda_runtime.h>

namespace
{

using onnx_fix::GatherChoice;
using onnx_fix::GatherElementsArgs;
using onnx_fix::GatherPath;
using onnx_fix::GatherTuning;

void must(cudaError_t status, char const* what)
{
    if (status != cudaSuccess)
    {
        std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(status));
        std::exit(2);
    }
}

struct Case
{
    int elementBytes = 4, indexBytes = 8, axis = 0, rank = 1;
    int64_t data[8] = {1, 1, 1, 1, 1, 1, 1, 1}, index[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    int shift[3] = {0, 0, 0};
    int kind = 0;
    uint64_t seed = 0;

    int64_t dataCount() const
    {
        int64_t n = 1;
        for (int k = 0; k < rank; ++k)
        {
            n *= data[k];
        }
        return n;
    }
    int64_t count() const
    {
        int64_t n = 1;
        for (int k = 0; k < rank; ++k)
        {
            n *= index[k];
        }
        return n;
    }
    std::string line() const
    {
        std::ostringstream out;
        out << elementBytes << ' ' << indexBytes << ' ' << axis << ' ' << rank;
        for (int k = 0; k < rank; ++k)
        {
            out << ' ' << data[k];
        }
        for (int k = 0; k < rank; ++k)
        {
            out << ' ' << index[k];
        }
        out << ' ' << shift[0] << ' ' << shift[1] << ' ' << shift[2] << ' ' << kind << ' ' << seed;
        return out.str();
    }
};

bool parse(std::string const& line, Case& made)
{
    std::istringstream in(line);
    made = Case{};
    in >> made.elementBytes >> made.indexBytes >> made.axis >> made.rank;
    if (!in || made.rank < 1 || made.rank > 8)
    {
        return false;
    }
    for (int k = 0; k < made.rank; ++k)
    {
        in >> made.data[k];
    }
    for (int k = 0; k < made.rank; ++k)
    {
        in >> made.index[k];
    }
    in >> made.shift[0] >> made.shift[1] >> made.shift[2] >> made.kind >> made.seed;
    return static_cast<bool>(in);
}

__host__ __device__ inline uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

// The index at position `p` of a case.
__host__ __device__ inline int64_t indexAt(int64_t p, int64_t last, int64_t size, int kind, uint64_t seed)
{
    uint64_t const h = mix(seed ^ mix(static_cast<uint64_t>(kind == 1 ? p / last : p)));
    int64_t const inside = static_cast<int64_t>(h % (2 * static_cast<uint64_t>(size))) - size;
    if (kind == 2 && h >> 61 == 0)
    {
        return inside < 0 ? -size - 1 - (inside & 7) : size + (inside & 7);
    }
    if (kind == 3)
    {
        int64_t const far[4] = {INT32_MIN, INT32_MAX, -size - 1, size};
        return far[h & 3];
    }
    return inside;
}

// The definition: where data is read for the output at `p`, by division of 64-bit integers.
__host__ __device__ inline int64_t source(Case const& c, int64_t p, int64_t index, int32_t& bad)
{
    int64_t const size = c.data[c.axis];
    if (index < -size || index >= size)
    {
        ++bad;
    }
    int64_t at = index < 0 ? index + size : index;
    at = at < 0 ? 0 : (at >= size ? size - 1 : at);
    int64_t offset = 0, stride = 1;
    for (int k = c.rank - 1; k >= 0; --k)
    {
        offset += (k == c.axis ? at : p % c.index[k]) * stride;
        p /= c.index[k];
        stride *= c.data[k];
    }
    return offset;
}

struct Buffer
{
    char* base = nullptr;
    size_t bytes = 0;
    explicit Buffer(size_t size) : bytes(size)
    {
        must(cudaMalloc(reinterpret_cast<void**>(&base), size > 0 ? size : 1), "cudaMalloc");
    }
    Buffer(Buffer const&) = delete;
    Buffer& operator=(Buffer const&) = delete;
    ~Buffer()
    {
        cudaFree(base);
    }
};

constexpr int64_t kGuard = 256; // bytes on both sides of the output that must stay as they are

GatherElementsArgs arguments(Case const& c, void const* data, void const* indices, void* output, int32_t* bad)
{
    GatherElementsArgs args{};
    args.rank = c.rank;
    std::copy(c.data, c.data + 8, args.dataDims);
    std::copy(c.index, c.index + 8, args.indexDims);
    args.axis = c.axis;
    args.elementBytes = c.elementBytes;
    args.index64 = c.indexBytes == 8;
    args.data = data;
    args.indices = indices;
    args.output = output;
    args.outOfRange = bad;
    return args;
}

struct Tally
{
    int runs = 0, failures = 0;
    int byPath[5] = {0, 0, 0, 0, 0};
};

GatherTuning const kTunings[] = {{GatherPath::kAuto, false, false}, {GatherPath::kFlat, false, false},
    {GatherPath::kFlat, false, true}, {GatherPath::kFlat, true, false}, {GatherPath::kFlat, true, true},
    {GatherPath::kStaged, false, false}, {GatherPath::kStaged, false, true}, {GatherPath::kTiled, false, false},
    {GatherPath::kTiled, false, true}, {GatherPath::kPieces, false, false},
    {GatherPath::kPieces, false, true}};

void runSmall(Case const& c, Tally& tally)
{
    int64_t const n = c.count(), m = c.dataCount();
    std::vector<char> data(m * c.elementBytes), indices(n * c.indexBytes), expected(n * c.elementBytes);
    for (size_t k = 0; k < data.size(); ++k)
    {
        data[k] = static_cast<char>(mix(c.seed + k) >> 7);
    }
    int32_t wantedBad = 0;
    for (int64_t p = 0; p < n; ++p)
    {
        int64_t index = indexAt(p, c.index[c.rank - 1], c.data[c.axis], c.kind, c.seed);
        if (c.indexBytes == 8 && c.kind == 3 && (mix(p) & 3) == 0)
        {
            index = (mix(p) & 4) != 0 ? INT64_MIN : INT64_MAX;
        }
        if (c.indexBytes == 8)
        {
            std::memcpy(&indices[p * 8], &index, 8);
        }
        else
        {
            int32_t const narrow = static_cast<int32_t>(index);
            std::memcpy(&indices[p * 4], &narrow, 4);
        }
        int64_t const size = c.data[c.axis];
        // The sum of the definition would overflow for the ends of int64.
        int64_t const near = index < -size ? -size - 1 : (index > size ? size : index);
        int64_t const from = source(c, p, near, wantedBad);
        std::memcpy(&expected[p * c.elementBytes], &data[from * c.elementBytes], c.elementBytes);
    }
    Buffer dData(data.size() + c.shift[0] * c.elementBytes), dIndex(indices.size() + c.shift[1] * c.indexBytes);
    Buffer dOut(expected.size() + c.shift[2] * c.elementBytes + 2 * kGuard), dBad(4);
    char* const pData = dData.base + c.shift[0] * c.elementBytes;
    char* const pIndex = dIndex.base + c.shift[1] * c.indexBytes;
    char* const pOut = dOut.base + kGuard + c.shift[2] * c.elementBytes;
    if (!data.empty())
    {
        must(cudaMemcpy(pData, data.data(), data.size(), cudaMemcpyHostToDevice), "copy data");
    }
    if (!indices.empty())
    {
        must(cudaMemcpy(pIndex, indices.data(), indices.size(), cudaMemcpyHostToDevice), "copy indices");
    }
    std::vector<char> out(dOut.bytes);
    for (GatherTuning const& tuning : kTunings)
    {
        must(cudaMemset(dOut.base, 0xa5, dOut.bytes), "cudaMemset");
        must(cudaMemset(dBad.base, 0, 4), "cudaMemset");
        bool const counted = (c.seed & 1) == 0;
        int32_t* const bad = counted ? reinterpret_cast<int32_t*>(dBad.base) : nullptr;
        GatherChoice choice{};
        cudaError_t const status
            = launchGatherElementsTuned(arguments(c, pData, pIndex, pOut, bad), tuning, &choice, nullptr);
        if (status == cudaErrorNotSupported)
        {
            continue;
        }
        must(status, c.line().c_str());
        must(cudaDeviceSynchronize(), c.line().c_str());
        must(cudaMemcpy(out.data(), dOut.base, dOut.bytes, cudaMemcpyDeviceToHost), "copy back");
        int32_t foundBad = 0;
        must(cudaMemcpy(&foundBad, dBad.base, 4, cudaMemcpyDeviceToHost), "copy back");
        size_t const begin = pOut - dOut.base;
        bool good = std::memcmp(out.data() + begin, expected.data(), expected.size()) == 0
            && foundBad == (counted ? wantedBad : 0);
        for (size_t k = 0; k < out.size(); ++k)
        {
            good = good && ((k >= begin && k < begin + expected.size()) || out[k] == static_cast<char>(0xa5));
        }
        ++tally.runs;
        ++tally.byPath[static_cast<int>(choice.path)];
        if (!good)
        {
            ++tally.failures;
            std::printf("FAILED path %d wide %d vector %d bad %d of %d: %s\n", static_cast<int>(choice.path),
                choice.wide, choice.vector, foundBad, wantedBad, c.line().c_str());
        }
    }
}

Case randomCase(std::mt19937_64& draw)
{
    auto const pick = [&](int64_t low, int64_t high) {
        return low + static_cast<int64_t>(draw() % static_cast<uint64_t>(high - low + 1));
    };
    Case c;
    c.elementBytes = 1 << pick(0, 3);
    c.indexBytes = pick(0, 1) != 0 ? 8 : 4;
    c.rank = static_cast<int>(pick(1, 8));
    c.axis = static_cast<int>(pick(0, 2) == 0 ? c.rank - 1 : pick(0, c.rank - 1));
    int64_t const budget = pick(0, 3) == 0 ? 400000 : 20000;
    bool const same = pick(0, 2) != 0; // dims off the axis alike in data and indices
    int64_t n = 1, m = 1;
    for (int s = 0, k = static_cast<int>(pick(0, c.rank - 1)); s < c.rank; ++s, k = (k + 1) % c.rank)
    {
        int64_t const roomD = budget / m > 0 ? budget / m : 1, roomI = budget / n > 0 ? budget / n : 1;
        int64_t const cap = s + 1 == c.rank ? 6000 : pick(1, 6) == 1 ? 300 : 12;
        int64_t d = pick(1, roomD < cap ? roomD : cap);
        d = pick(0, 3) == 0 && d > 8 ? d / 8 * 8 : d;
        int64_t const free = pick(1, roomI < cap ? roomI : cap);
        int64_t i = k == c.axis ? free : (same ? d : pick(1, d));
        i = i < roomI ? i : roomI;
        if (k == c.axis && pick(0, 2) == 0 && i > 8)
        {
            i = i / 8 * 8;
        }
        if (pick(0, 150) == 0)
        {
            i = 0;
        }
        c.data[k] = d;
        c.index[k] = i;
        m *= d;
        n *= i > 0 ? i : 1;
    }
    int64_t const special = pick(0, 19);
    if (special == 0)
    {
        // Rows that are too long for shared memory, of a few pieces.
        c.rank = 2;
        c.axis = 1;
        c.data[0] = c.index[0] = pick(1, 3);
        c.data[1] = pick(20, 1000) * 1024 / c.elementBytes + pick(0, 9);
        c.index[1] = pick(1, 30000);
    }
    else if (special <= 3)
    {
        // Inner dims that are no multiple of a vector, of rows that fit into shared memory or not.
        c.rank = 3;
        c.axis = 1;
        c.data[0] = c.index[0] = pick(1, 40);
        c.data[2] = pick(1, 3) == 1 ? pick(2, 9) : pick(2, 99);
        c.index[2] = pick(0, 2) == 0 ? pick(1, c.data[2]) : c.data[2];
        c.data[1] = pick(1, 60000 / (c.data[0] * c.data[2]) + 8);
        c.index[1] = pick(1, 60000 / (c.data[0] * c.data[2]) + 8);
    }
    else if (pick(0, 99) == 0)
    {
        // More outputs than the other cases have, of small rows.
        c.rank = 3;
        c.axis = 1;
        c.data[0] = c.index[0] = pick(2, 40);
        c.data[2] = c.index[2] = pick(0, 1) == 0 ? 8 * pick(1, 5) : pick(2, 40);
        c.data[1] = pick(40, 2000);
        c.index[1] = 420000 / (c.data[0] * c.data[2]) + pick(0, 9);
    }
    for (int& shift : c.shift)
    {
        shift = static_cast<int>(pick(0, 1) == 0 ? 0 : pick(0, 9));
    }
    c.kind = static_cast<int>(pick(0, 5));
    c.kind = c.kind > 3 ? 0 : c.kind;
    c.seed = draw();
    return c;
}

// ---------------------------------------------------------------------------- large cases

template <typename T>
__global__ void fill(T* to, int64_t count, uint64_t seed)
{
    int64_t const step = static_cast<int64_t>(gridDim.x) * blockDim.x;
    for (int64_t k = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; k < count; k += step)
    {
        to[k] = static_cast<T>(mix(seed + k));
    }
}

template <typename Index>
__global__ void fillIndices(Index* to, Case const c, int64_t count)
{
    int64_t const step = static_cast<int64_t>(gridDim.x) * blockDim.x;
    for (int64_t k = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; k < count; k += step)
    {
        to[k] = static_cast<Index>(indexAt(k, c.index[c.rank - 1], c.data[c.axis], c.kind, c.seed));
    }
}

template <typename T, typename Index>
__global__ void compare(Case const c, T const* data, Index const* indices, T const* output, int64_t count,
    unsigned long long* wrong, unsigned long long* bad)
{
    int64_t const step = static_cast<int64_t>(gridDim.x) * blockDim.x;
    unsigned long long mine = 0;
    int32_t outside = 0;
    for (int64_t k = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; k < count; k += step)
    {
        mine += data[source(c, k, indices[k], outside)] != output[k];
    }
    if (mine != 0)
    {
        atomicAdd(wrong, mine);
    }
    atomicAdd(bad, static_cast<unsigned long long>(outside));
}

template <typename T, typename Index>
void runLargeAs(Case const& c, Tally& tally)
{
    int64_t const n = c.count(), m = c.dataCount();
    Buffer data(m * sizeof(T)), indices(n * sizeof(Index)), output(n * sizeof(T)), results(20);
    auto* const pData = reinterpret_cast<T*>(data.base);
    auto* const pIndex = reinterpret_cast<Index*>(indices.base);
    auto* const pOut = reinterpret_cast<T*>(output.base);
    fill<T><<<4096, 256>>>(pData, m, c.seed);
    fillIndices<Index><<<4096, 256>>>(pIndex, c, n);
    must(cudaDeviceSynchronize(), "fill");
    for (GatherTuning const& tuning : kTunings)
    {
        must(cudaMemset(output.base, 0xa5, output.bytes), "cudaMemset");
        must(cudaMemset(results.base, 0, 20), "cudaMemset");
        auto* const counts = reinterpret_cast<unsigned long long*>(results.base);
        auto* const bad = reinterpret_cast<int32_t*>(results.base + 16);
        GatherChoice choice{};
        cudaError_t const status
            = launchGatherElementsTuned(arguments(c, pData, pIndex, pOut, bad), tuning, &choice, nullptr);
        if (status == cudaErrorNotSupported)
        {
            continue;
        }
        must(status, c.line().c_str());
        compare<T, Index><<<4096, 256>>>(c, pData, pIndex, pOut, n, counts, counts + 1);
        must(cudaDeviceSynchronize(), c.line().c_str());
        unsigned long long found[2];
        int32_t reported = 0;
        must(cudaMemcpy(found, counts, 16, cudaMemcpyDeviceToHost), "copy back");
        must(cudaMemcpy(&reported, bad, 4, cudaMemcpyDeviceToHost), "copy back");
        bool const good = found[0] == 0 && static_cast<int32_t>(found[1]) == reported;
        ++tally.runs;
        ++tally.byPath[static_cast<int>(choice.path)];
        tally.failures += good ? 0 : 1;
        std::printf("%s path %d wide %d vector %d wrong %llu outside %d of %llu: %s\n", good ? "ok" : "FAILED",
            static_cast<int>(choice.path), choice.wide, choice.vector, found[0], reported, found[1],
            c.line().c_str());
        std::fflush(stdout);
    }
}

void runLarge(Case const& c, Tally& tally)
{
    switch (c.elementBytes * 10 + c.indexBytes)
    {
    case 14: runLargeAs<uint8_t, int32_t>(c, tally); break;
    case 18: runLargeAs<uint8_t, int64_t>(c, tally); break;
    case 24: runLargeAs<uint16_t, int32_t>(c, tally); break;
    case 28: runLargeAs<uint16_t, int64_t>(c, tally); break;
    case 44: runLargeAs<uint32_t, int32_t>(c, tally); break;
    case 48: runLargeAs<uint32_t, int64_t>(c, tally); break;
    case 84: runLargeAs<uint64_t, int32_t>(c, tally); break;
    default: runLargeAs<uint64_t, int64_t>(c, tally); break;
    }
}

int allLarge(Tally& tally)
{
    char const* const lines[] = {
        // data of more than 2^31 elements: one axis, the last axis, inside, narrower indices
        "1 8 0 1 2200000000 1000003 0 0 0 2 1",
        "2 4 1 2 1100000 2003 1100000 17 0 0 0 0 2",
        "2 4 0 2 300000 8192 1000 8192 0 0 0 1 3",
        "1 8 1 4 70000 3 2 5243 65000 7 1 11 0 0 0 2 4",
        // output of more than 2^31 elements from little data
        "1 4 0 1 1000 2200000011 0 0 0 0 5",
        "1 4 1 2 70000 100 70000 31000 0 0 0 0 6",
        "1 4 0 2 64 2048 1050000 2048 0 0 0 1 7",
        "1 4 1 4 5 3 9 4097 4 14600 9 4096 0 0 0 2 8",
        // both
        "1 4 1 2 540000 4100 540000 4001 0 0 0 0 9",
        "1 4 1 3 600 1000 4096 600 1001 4096 0 0 0 2 10",
        "4 4 1 2 270000 8192 270000 8192 0 0 0 0 11",
        // far beyond an int32 index along the axis itself
        "1 8 1 2 1 4500000000 1 3000001 0 0 0 2 12",
        // fewer, but as many as the choice asks for: inner dims that are no multiple of a vector, of
        // indices that differ and that are expanded; short lines; long rows
        "2 4 1 3 40 4096 257 40 4096 257 1 0 0 2 13",
        "2 8 1 3 40 4096 257 40 4000 255 0 0 1 1 14",
        "1 8 1 3 40 4096 257 40 4096 257 3 1 3 2 15",
        "4 4 1 3 40 4096 257 40 4096 257 1 0 0 2 16",
        "8 8 1 3 40 4096 257 40 4096 257 0 0 0 1 17",
        "4 8 1 3 1024 2048 3 1024 2048 3 1 0 1 2 18",
        "4 8 1 2 200 65537 200 65537 0 0 0 2 19",
        "2 4 1 2 200 200001 200 100003 1 1 1 2 20",
    };
    for (char const* line : lines)
    {
        Case c;
        if (!parse(line, c))
        {
            std::printf("FAILED to read %s\n", line);
            ++tally.failures;
            continue;
        }
        runLarge(c, tally);
    }
    return static_cast<int>(sizeof(lines) / sizeof(lines[0]));
}

// ---------------------------------------------------------------------------- refusals

void refused(Tally& tally)
{
    Buffer some(4096);
    Case c;
    c.rank = 2;
    c.data[0] = c.index[0] = 4;
    c.data[1] = c.index[1] = 8;
    auto const expect = [&](char const* what, GatherElementsArgs const& args, cudaError_t wanted) {
        cudaError_t const status = launchGatherElements(args, nullptr);
        ++tally.runs;
        if (status != wanted || cudaDeviceSynchronize() != cudaSuccess)
        {
            ++tally.failures;
            std::printf("FAILED %s: %s\n", what, cudaGetErrorString(status));
        }
    };
    must(cudaMemset(some.base, 0, some.bytes), "cudaMemset");
    GatherElementsArgs const good = arguments(c, some.base, some.base + 1024, some.base + 2048, nullptr);
    GatherElementsArgs a = good;
    expect("good", a, cudaSuccess);
    auto const bad = cudaErrorInvalidValue;
    expect("rank 0", (a = good, a.rank = 0, a), bad);
    expect("rank 9", (a = good, a.rank = 9, a), bad);
    expect("axis -1", (a = good, a.axis = -1, a), bad);
    expect("axis 2", (a = good, a.axis = 2, a), bad);
    expect("3 bytes", (a = good, a.elementBytes = 3, a), bad);
    expect("16 bytes", (a = good, a.elementBytes = 16, a), bad);
    expect("negative dim", (a = good, a.dataDims[0] = -1, a), bad);
    expect("negative index dim", (a = good, a.indexDims[0] = -4, a), bad);
    expect("indices wider than data", (a = good, a.indexDims[1] = 9, a), bad);
    expect("no data pointer", (a = good, a.data = nullptr, a), bad);
    expect("no index pointer", (a = good, a.indices = nullptr, a), bad);
    expect("no output pointer", (a = good, a.output = nullptr, a), bad);
    expect("unaligned data", (a = good, a.data = some.base + 2, a), bad);
    expect("unaligned indices", (a = good, a.indices = some.base + 1028, a), bad);
    expect("unaligned output", (a = good, a.output = some.base + 2049, a), bad);
    expect("overflow", (a = good, a.dataDims[0] = int64_t{1} << 40, a.dataDims[1] = int64_t{1} << 40, a), bad);
    expect("empty axis", (a = good, a.dataDims[0] = 0, a), bad);
    expect("no output, no pointers",
        (a = good, a.indexDims[0] = 0, a.data = a.indices = nullptr, a.output = nullptr, a), cudaSuccess);
    expect("nothing at all", (a = good, a.indexDims[1] = a.dataDims[1] = 0, a), cudaSuccess);
}

} // namespace

int main(int argc, char** argv)
{
    std::string const what = argc > 1 ? argv[1] : "";
    Tally tally;
    int cases = 0;
    if (what == "random" && argc > 3)
    {
        std::mt19937_64 draw(std::strtoull(argv[3], nullptr, 10));
        for (int k = std::atoi(argv[2]); k > 0; --k, ++cases)
        {
            runSmall(randomCase(draw), tally);
        }
    }
    else if (what == "file" && argc > 2)
    {
        std::ifstream in(argv[2]);
        for (std::string line; std::getline(in, line);)
        {
            Case c;
            if (parse(line, c))
            {
                runSmall(c, tally);
                ++cases;
            }
        }
    }
    else if (what == "large")
    {
        cases = allLarge(tally);
    }
    else if (what == "refused")
    {
        refused(tally);
    }
    else
    {
        std::fprintf(stderr, "gather_harness random COUNT SEED | file PATH | large | refused\n");
        return 64;
    }
    std::printf("%s: %d cases, %d runs (flat %d, staged %d, tiled %d, pieces %d), %d failures\n", what.c_str(), cases,
        tally.runs, tally.byPath[1], tally.byPath[2], tally.byPath[3],
        tally.byPath[4], tally.failures);
    return tally.failures == 0 && tally.runs > 0 ? 0 : 1;
}
