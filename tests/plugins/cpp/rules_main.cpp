// Answers questions about rules.h, one a line: the fault (0 for none) and what came of it.
//
//   bytes T | type T T | ranks R R AXIS | supports POSITION INPUTS OUTPUTS DECLARED (T LINEAR SCALE)x3
//   types (T SCALE)x3 | shapes AXIS (RANK DIMS..)x3 | write AXIS | read HEX (- for none)

#include "rules.h"

#include <cstdio>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

using namespace onnx_fix;

namespace
{

Element element(std::istream& in)
{
    int32_t number = 0;
    in >> number;
    return static_cast<Element>(number);
}

Shape shape(std::istream& in)
{
    Shape read{};
    in >> read.rank;
    for (int32_t k = 0; k < read.rank; ++k)
    {
        int64_t size = 0;
        in >> size;
        if (k < kMaxRank)
        {
            read.dims[k] = size;
        }
    }
    return read;
}

void answer(Fault fault, int64_t result)
{
    std::printf("%d %lld %s\n", static_cast<int>(fault), static_cast<long long>(result), text(fault));
}

} // namespace

int main()
{
    std::string line;
    while (std::getline(std::cin, line))
    {
        std::istringstream in(line);
        std::string what;
        in >> what;
        int32_t place = -1;
        if (what == "bytes")
        {
            answer(Fault::kNone, bytesOf(element(in)));
        }
        else if (what == "type")
        {
            Element const data = element(in);
            Element output = Element::kOther;
            Fault const fault = outputType(data, element(in), output);
            answer(fault, static_cast<int32_t>(output));
        }
        else if (what == "ranks")
        {
            int32_t data = 0;
            int32_t indices = 0;
            int32_t axis = 0;
            in >> data >> indices >> axis;
            Fault const fault = checkRanks(data, indices, axis, place);
            answer(fault, place);
        }
        else if (what == "supports" || what == "types")
        {
            bool const all = what == "supports";
            int32_t position = 0;
            int32_t inputs = 0;
            int32_t outputs = 0;
            int32_t declared = 0;
            if (all)
            {
                in >> position >> inputs >> outputs >> declared;
            }
            Spec specs[kTensors]{};
            for (Spec& spec : specs)
            {
                int32_t linear = 1;
                spec.type = element(in);
                if (all)
                {
                    in >> linear;
                }
                in >> spec.scale;
                spec.linear = linear != 0;
            }
            if (all)
            {
                answer(Fault::kNone, supports(specs, position, inputs, outputs, static_cast<Declared>(declared)));
            }
            else
            {
                answer(checkTypes(specs[0], specs[1], specs[2]), 0);
            }
        }
        else if (what == "shapes")
        {
            int32_t axis = 0;
            in >> axis;
            Shape const data = shape(in);
            Shape const indices = shape(in);
            Shape const output = shape(in);
            Fault const fault = checkShapes(data, indices, output, axis, place);
            answer(fault, place);
        }
        else if (what == "write")
        {
            Parameters parameters{};
            in >> parameters.axis;
            unsigned char bytes[kSerializedBytes];
            write(parameters, bytes);
            for (unsigned char byte : bytes)
            {
                std::printf("%02x", byte);
            }
            std::printf("\n");
        }
        else if (what == "read")
        {
            std::string hex;
            in >> hex;
            std::vector<unsigned char> bytes;
            for (size_t k = 0; hex != "-" && k + 1 < hex.size(); k += 2)
            {
                bytes.push_back(static_cast<unsigned char>(std::stoi(hex.substr(k, 2), nullptr, 16)));
            }
            Parameters parameters{};
            // Grown by a byte, so that data() is never null.
            size_t const size = bytes.size();
            bytes.push_back(0);
            Fault const fault = read(bytes.data(), size, parameters);
            answer(fault, parameters.axis);
        }
        else
        {
            return 2;
        }
    }
    return 0;
}
