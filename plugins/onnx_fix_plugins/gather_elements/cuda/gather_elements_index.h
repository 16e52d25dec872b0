// The index arithmetic of the kernel, as functions that compile for the host too, so that it is
// tested without a GPU (harness/host_index.cpp). C++14; no CUDA header is needed on the host.
#ifndef ONNX_FIX_GATHER_ELEMENTS_INDEX_H
#define ONNX_FIX_GATHER_ELEMENTS_INDEX_H

#include <cstdint>

#if defined(__CUDACC__)
#define ONNX_FIX_BOTH __host__ __device__ __forceinline__
#else
#define ONNX_FIX_BOTH inline
#endif

namespace onnx_fix
{
namespace detail
{

constexpr int32_t kMaxRank = 8;

// ---------------------------------------------------------------------------- division

ONNX_FIX_BOTH uint32_t highProduct(uint32_t a, uint32_t b)
{
#if defined(__CUDA_ARCH__)
    return __umulhi(a, b);
#else
    return static_cast<uint32_t>((static_cast<uint64_t>(a) * b) >> 32);
#endif
}

ONNX_FIX_BOTH uint64_t highProduct(uint64_t a, uint64_t b)
{
#if defined(__CUDA_ARCH__)
    return __umul64hi(a, b);
#else
    uint64_t const al = a & 0xffffffffu, ah = a >> 32, bl = b & 0xffffffffu, bh = b >> 32;
    uint64_t const mid = ah * bl + ((al * bl) >> 32);
    uint64_t const low = al * bh + (mid & 0xffffffffu);
    return ah * bh + (mid >> 32) + (low >> 32);
#endif
}

// Division by a divisor that is known before the launch: a product, a sum and a shift. With W bits
// and s = ceil(log2 d), floor(n / d) = (highProduct(n, m) + n) >> s for m = floor(2^W (2^s - d) / d) + 1.
// The sum does not overflow, since dividends and divisors are below 2^(W - 1).
template <typename Offset>
struct Divisor
{
    Offset value;
    Offset magic;
    uint32_t shift;

    ONNX_FIX_BOTH Offset divide(Offset n) const
    {
        return static_cast<Offset>(highProduct(n, magic) + n) >> shift;
    }
};

template <typename Offset>
Divisor<Offset> makeDivisor(int64_t value) noexcept
{
    constexpr uint32_t kBits = sizeof(Offset) * 8;
    Divisor<Offset> made{};
    uint64_t const d = value < 1 ? 1 : static_cast<uint64_t>(value);
    while ((uint64_t{1} << made.shift) < d)
    {
        ++made.shift;
    }
    // floor(2^W (2^s - d) / d), one bit of the quotient at a time: the remainder stays below d.
    uint64_t remainder = (uint64_t{1} << made.shift) - d;
    uint64_t quotient = 0;
    for (uint32_t bit = 0; bit < kBits; ++bit)
    {
        remainder <<= 1;
        quotient <<= 1;
        if (remainder >= d)
        {
            remainder -= d;
            quotient |= 1;
        }
    }
    made.value = static_cast<Offset>(d);
    made.magic = static_cast<Offset>(quotient + 1);
    return made;
}

// ---------------------------------------------------------------------------- one index

// The integer in which an index is wrapped: 32 bits are enough when both the index and D are.
template <typename Index, typename Offset>
struct WrapType
{
    using Signed = int64_t;
    using Unsigned = uint64_t;
};
template <>
struct WrapType<int32_t, uint32_t>
{
    using Signed = int32_t;
    using Unsigned = uint32_t;
};

// The place along the axis that `index` names, always in [0, size): negative ones count from the
// end, others out of range read the first or the last place and are counted.
template <typename Offset, typename Index>
ONNX_FIX_BOTH Offset wrapIndex(Index index, Offset size, int32_t& outOfRange)
{
    using Signed = typename WrapType<Index, Offset>::Signed;
    using Unsigned = typename WrapType<Index, Offset>::Unsigned;
    Signed const wide = static_cast<Signed>(index);
    Unsigned const limit = static_cast<Unsigned>(size);
    Unsigned at = static_cast<Unsigned>(wide);
    if (wide < 0)
    {
        at += limit; // Still at least `limit`, seen as unsigned, when it is below -D.
    }
    if (at >= limit)
    {
        ++outOfRange;
        at = wide < 0 ? Unsigned{0} : limit - 1;
    }
    return static_cast<Offset>(at);
}

// ---------------------------------------------------------------------------- the plan

// What is left of the dims when those that lie alike in data and indices are merged.
enum class Form : int32_t
{
    kLast,    // rows x K, nothing inside the axis
    kMiddle,  // rows x K x inner, where inner is contiguous in data
    kGeneral, // more: indices that are narrower than data elsewhere than on the axis
};

struct Plan
{
    Form form;
    int64_t count;      // elements of indices and of output
    int64_t dataCount;  // elements of data
    int64_t axisSize;   // D
    int64_t axisStride; // elements of data between neighbours on the axis
    int64_t axisCount;  // K
    int64_t rows;       // product of the dims before the axis
    int64_t rowStride;  // elements of data between two rows
    int64_t inner;      // product of the dims after the axis
    int32_t rank;       // of kGeneral: merged dims of indices, outermost first, ..
    int64_t size[kMaxRank];
    int64_t stride[kMaxRank]; // .. and how far data moves with each: 0 on the axis
};

// a * b of two numbers that are not negative, or false where it does not fit below 2^62.
inline bool product(int64_t a, int64_t b, int64_t& out) noexcept
{
    if (b != 0 && a > (int64_t{1} << 62) / b)
    {
        return false;
    }
    out = a * b;
    return true;
}

// Fills the plan from shapes; false where the shapes are not those of a GatherElements.
inline bool makePlan(
    int32_t rank, int64_t const* dataDims, int64_t const* indexDims, int32_t axis, Plan& plan) noexcept
{
    plan = Plan{};
    if (rank < 1 || rank > kMaxRank || axis < 0 || axis >= rank)
    {
        return false;
    }
    int64_t strides[kMaxRank];
    int64_t dataCount = 1, count = 1;
    // Sizes that overflow are refused even when another dim is 0.
    int64_t dataBound = 1, bound = 1;
    for (int32_t k = rank - 1; k >= 0; --k)
    {
        int64_t const d = dataDims[k], i = indexDims[k];
        if (d < 0 || i < 0 || (k != axis && i > d))
        {
            return false;
        }
        strides[k] = dataCount;
        dataCount *= d;
        count *= i;
        if (!product(dataBound, d > 0 ? d : 1, dataBound) || !product(bound, i > 0 ? i : 1, bound))
        {
            return false;
        }
    }
    plan.count = count;
    plan.dataCount = dataCount;
    plan.axisSize = dataDims[axis];
    plan.axisStride = strides[axis];
    plan.axisCount = indexDims[axis];
    if (count == 0)
    {
        return true;
    }
    if (dataCount == 0)
    {
        return false; // There is nothing that an index could name.
    }
    int32_t outer = 0, inner = 0, last = -1;
    for (int32_t k = 0; k < rank; ++k)
    {
        if (k == axis)
        {
            plan.size[plan.rank] = plan.axisCount;
            plan.stride[plan.rank] = 0;
            ++plan.rank;
            last = -1;
            continue;
        }
        if (indexDims[k] == 1)
        {
            continue;
        }
        if (last >= 0 && plan.stride[last] == indexDims[k] * strides[k])
        {
            plan.size[last] *= indexDims[k];
            plan.stride[last] = strides[k];
            continue;
        }
        last = plan.rank++;
        plan.size[last] = indexDims[k];
        plan.stride[last] = strides[k];
        ++(k < axis ? outer : inner);
    }
    plan.rows = outer == 1 ? plan.size[0] : 1;
    plan.rowStride = outer == 1 ? plan.stride[0] : 0;
    plan.inner = inner == 1 ? plan.size[plan.rank - 1] : 1;
    bool const contiguous = inner == 1 && plan.stride[plan.rank - 1] == 1;
    plan.form = outer > 1            ? Form::kGeneral
        : inner == 0                 ? Form::kLast
        : inner == 1 && contiguous   ? Form::kMiddle
                                     : Form::kGeneral;
    return true;
}

// 32-bit offsets hold everything: both tensors have fewer than 2^31 elements, which leaves room
// for the last block to count past the end.
inline bool fitsIn32(Plan const& plan) noexcept
{
    constexpr int64_t kLimit = int64_t{1} << 31;
    return plan.count < kLimit && plan.dataCount < kLimit;
}

// ---------------------------------------------------------------------------- where data is read

// The plan in the numbers that a kernel computes with.
template <typename Offset>
struct Layout
{
    Offset count;
    Offset axisSize;
    Offset axisStride;
    Offset rowStride;
    Divisor<Offset> perRow; // K x inner
    Divisor<Offset> inner;
};

template <typename Offset>
Layout<Offset> makeLayout(Plan const& plan) noexcept
{
    Layout<Offset> layout{};
    layout.count = static_cast<Offset>(plan.count);
    layout.axisSize = static_cast<Offset>(plan.axisSize);
    layout.axisStride = static_cast<Offset>(plan.axisStride);
    layout.rowStride = static_cast<Offset>(plan.rowStride);
    layout.perRow = makeDivisor<Offset>(plan.axisCount * plan.inner);
    layout.inner = makeDivisor<Offset>(plan.inner);
    return layout;
}

template <typename Offset>
struct GeneralLayout
{
    Offset count;
    Offset axisSize;
    Offset axisStride;
    int32_t rank;
    Divisor<Offset> size[kMaxRank];
    Offset stride[kMaxRank];
};

template <typename Offset>
GeneralLayout<Offset> makeGeneralLayout(Plan const& plan) noexcept
{
    GeneralLayout<Offset> layout{};
    layout.count = static_cast<Offset>(plan.count);
    layout.axisSize = static_cast<Offset>(plan.axisSize);
    layout.axisStride = static_cast<Offset>(plan.axisStride);
    layout.rank = plan.rank;
    for (int32_t k = 0; k < plan.rank; ++k)
    {
        layout.size[k] = makeDivisor<Offset>(plan.size[k]);
        layout.stride[k] = static_cast<Offset>(plan.stride[k]);
    }
    return layout;
}

// Walks consecutive outputs of Form::kLast: `base` is where data of the row begins.
template <typename Offset>
struct LastWalk
{
    Offset base;
    Offset column;

    ONNX_FIX_BOTH LastWalk(Layout<Offset> const& layout, Offset position)
    {
        Offset const row = layout.perRow.divide(position);
        column = position - row * layout.perRow.value;
        base = row * layout.rowStride;
    }
    ONNX_FIX_BOTH void next(Layout<Offset> const& layout)
    {
        if (++column == layout.perRow.value)
        {
            column = 0;
            base += layout.rowStride;
        }
    }
};

// Where data of the output at `position` lies for index 0, of Form::kMiddle. The outputs after it
// up to the end of `inner` follow one by one.
template <typename Offset>
ONNX_FIX_BOTH Offset middleBase(Layout<Offset> const& layout, Offset position)
{
    Offset const row = layout.perRow.divide(position);
    Offset const column = position - layout.inner.divide(position) * layout.inner.value;
    return row * layout.rowStride + column;
}

// The same for any form.
template <typename Offset>
ONNX_FIX_BOTH Offset generalBase(GeneralLayout<Offset> const& layout, Offset position)
{
    Offset base = 0;
    for (int32_t k = layout.rank - 1; k > 0; --k)
    {
        Offset const rest = layout.size[k].divide(position);
        base += (position - rest * layout.size[k].value) * layout.stride[k];
        position = rest;
    }
    return base + position * layout.stride[0];
}

} // namespace detail
} // namespace onnx_fix

#endif // ONNX_FIX_GATHER_ELEMENTS_INDEX_H
