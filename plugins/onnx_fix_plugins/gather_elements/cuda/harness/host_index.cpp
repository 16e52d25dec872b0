// The index arithmetic of the kernel on the host: a C++ compiler and no GPU is all it needs.
//
// Reads cases from standard input, one a line: offsetBits indexBits axis rank dataDims..
// indexDims.., then the indices. Writes one line per case: the form (0 last, 1 middle, 2 general),
// the number of indices out of range, and for every output the place in data that the kernel reads;
// or `refused`. The first line of output tells how many divisions were tried.
#include "../gather_elements_index.h"

#include <cstdint>
#include <iostream>
#include <string>
#include <vector>

using namespace onnx_fix::detail;

namespace
{

template <typename Offset, typename Index>
void places(Plan const& plan, std::vector<int64_t> const& indices)
{
    auto const layout = makeLayout<Offset>(plan);
    auto const general = makeGeneralLayout<Offset>(plan);
    int32_t bad = 0;
    std::vector<Offset> found;
    for (int64_t p = 0; p < plan.count; ++p)
    {
        Offset const position = static_cast<Offset>(p);
        Offset const at = wrapIndex<Offset>(static_cast<Index>(indices[static_cast<size_t>(p)]), layout.axisSize, bad);
        Offset const base = generalBase(general, position);
        bool same = true;
        if (plan.form == Form::kLast)
        {
            // From every start up to 8 before, as vectors of outputs walk.
            for (Offset back = 0; back < 8 && back <= position; ++back)
            {
                LastWalk<Offset> walk(layout, position - back);
                for (Offset k = 0; k < back; ++k)
                {
                    walk.next(layout);
                }
                same = same && walk.base == base;
            }
        }
        if (plan.form == Form::kMiddle)
        {
            same = middleBase(layout, position) == base;
        }
        if (!same)
        {
            std::cout << "the forms disagree at " << p << '\n';
            return;
        }
        found.push_back(base + at * layout.axisStride);
    }
    std::cout << static_cast<int>(plan.form) << ' ' << bad;
    for (Offset const place : found)
    {
        std::cout << ' ' << place;
    }
    std::cout << '\n';
}

template <typename Offset>
int64_t tryDivisions()
{
    constexpr Offset kMost = (Offset{1} << (sizeof(Offset) * 8 - 1)) - 1;
    int64_t tried = 0;
    std::vector<Offset> divisors, dividends;
    for (Offset d = 1; d < 70; ++d)
    {
        divisors.push_back(d);
    }
    for (uint32_t s = 3; s < sizeof(Offset) * 8 - 2; ++s)
    {
        for (Offset const near : {(Offset{1} << s) - 1, Offset{1} << s, (Offset{1} << s) + 1, (Offset{3} << (s - 1)) + 5})
        {
            divisors.push_back(near);
        }
    }
    uint64_t state = 1;
    for (int k = 0; k < 500; ++k)
    {
        state = state * 6364136223846793005u + 1442695040888963407u;
        divisors.push_back((static_cast<Offset>(state >> (64 - sizeof(Offset) * 8)) & kMost) >> (k % 20) | 1);
    }
    for (Offset const d : divisors)
    {
        if (d > kMost / 2 + 1)
        {
            continue; // A product of dims is smaller.
        }
        Divisor<Offset> const made = makeDivisor<Offset>(static_cast<int64_t>(d));
        Offset const top = kMost / d;
        for (Offset const q : {Offset{0}, Offset{1}, Offset{2}, top / 3, top / 2, top - 1, top})
        {
            for (Offset const n : {static_cast<Offset>(q * d), static_cast<Offset>(q * d + d - 1),
                     static_cast<Offset>(q * d - 1), static_cast<Offset>(q * d + d / 2)})
            {
                if (n <= kMost)
                {
                    ++tried;
                    if (made.divide(n) != n / d)
                    {
                        std::cout << "wrong: " << n << " / " << d << '\n';
                        return -1;
                    }
                }
            }
        }
    }
    return tried;
}

} // namespace

int main()
{
    std::cout << tryDivisions<uint32_t>() << ' ' << tryDivisions<uint64_t>() << '\n';
    int offsetBits = 0, indexBits = 0, axis = 0, rank = 0;
    while (std::cin >> offsetBits >> indexBits >> axis >> rank)
    {
        int64_t data[kMaxRank] = {}, index[kMaxRank] = {};
        int64_t count = 0;
        for (int32_t k = 0; k < rank; ++k)
        {
            std::cin >> (k < kMaxRank ? data[k] : count);
        }
        for (int32_t k = 0; k < rank; ++k)
        {
            std::cin >> (k < kMaxRank ? index[k] : count);
        }
        Plan plan;
        std::cin >> count;
        std::vector<int64_t> indices(static_cast<size_t>(count));
        for (int64_t& i : indices)
        {
            std::cin >> i;
        }
        if (!makePlan(rank, data, index, axis, plan))
        {
            std::cout << "refused\n";
            continue;
        }
        if (offsetBits == 32)
        {
            indexBits == 32 ? places<uint32_t, int32_t>(plan, indices) : places<uint32_t, int64_t>(plan, indices);
        }
        else
        {
            indexBits == 32 ? places<uint64_t, int32_t>(plan, indices) : places<uint64_t, int64_t>(plan, indices);
        }
    }
    return 0;
}
