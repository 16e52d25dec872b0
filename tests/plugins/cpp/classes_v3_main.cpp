// GatherElementsV3 and its creator, as TensorRT would call them.

#include "classes.h"

#include "plugin_v3.h"

#include <memory>

extern "C" IPluginCreatorInterface* const* getCreators(int32_t& nbCreators) noexcept;
extern "C" void setLoggerFinder(ILoggerFinder* finder) noexcept;

namespace
{

class Finder : public ILoggerFinder
{
public:
    ILogger* findLogger() override
    {
        ++asked;
        return &logged();
    }
    int asked{0};
};

IPluginCreatorV3One* creator()
{
    int32_t count = 0;
    IPluginCreatorInterface* const* const all = getCreators(count);
    CHECK(count == 1);
    CHECK(std::string(all[0]->getInterfaceInfo().kind) == "PLUGIN CREATOR_V3ONE");
    return static_cast<IPluginCreatorV3One*>(all[0]);
}

using Plugin = std::unique_ptr<IPluginV3>;

Plugin make(std::vector<PluginField> const& fields, TensorRTPhase phase = TensorRTPhase::kBUILD)
{
    PluginFieldCollection const collection = fieldsOf(fields);
    return Plugin(creator()->createPlugin("node", &collection, phase));
}

Plugin make(int32_t axis)
{
    return make({PluginField{"axis", &axis, PluginFieldType::kINT32, 1}});
}

Enqueue enqueueOf(std::shared_ptr<IPluginV3> const& plugin)
{
    return [plugin](PluginTensorDesc const* in, PluginTensorDesc const* out, void const* const* inputs,
               void* const* outputs, cudaStream_t stream) {
        auto* const run
            = static_cast<IPluginV3OneRuntime*>(plugin->getCapabilityInterface(PluginCapabilityType::kRUNTIME));
        return run->enqueue(in, out, inputs, outputs, nullptr, stream);
    };
}

#if !defined(ONNX_FIX_ON_GPU)
IPluginV3OneBuild& build(Plugin const& plugin)
{
    return *static_cast<IPluginV3OneBuild*>(plugin->getCapabilityInterface(PluginCapabilityType::kBUILD));
}

IPluginV3OneRuntime& runtime(Plugin const& plugin)
{
    return *static_cast<IPluginV3OneRuntime*>(plugin->getCapabilityInterface(PluginCapabilityType::kRUNTIME));
}

void checkCreator()
{
    IPluginCreatorV3One* const one = creator();
    CHECK(std::string(one->getPluginName()) == "GatherElementsPlugin");
    CHECK(std::string(one->getPluginVersion()) == "1");
    CHECK(std::string(one->getPluginNamespace()).empty());
    PluginFieldCollection const* const names = one->getFieldNames();
    CHECK(names->nbFields == 1 && std::string(names->fields[0].name) == "axis");
    CHECK(names->fields[0].type == PluginFieldType::kINT32);
    CHECK(onnxFixRegisterPlugins() == 0);

    int64_t const wide = -1;
    int64_t const far = int64_t{1} << 32;
    int32_t const axis = 1;
    int32_t const layouts[]{1, 2};
    float const real = 1.0F;
    char const word[] = "1";
    CHECK(make({}) != nullptr);
    CHECK(creator()->createPlugin("node", nullptr, TensorRTPhase::kBUILD) != nullptr);
    CHECK(make({{"axis", &wide, PluginFieldType::kINT64, 1}}) != nullptr);
    CHECK(make({{"plugin_version", word, PluginFieldType::kCHAR, 1}, {"axis", &axis, PluginFieldType::kINT32, 1}})
        != nullptr);
    CHECK(logged().silent());
    CHECK(make({{"axis", &far, PluginFieldType::kINT64, 1}}) == nullptr);
    CHECK(logged().said("createPlugin: the axis must be"));
    CHECK(make({{"axis", &real, PluginFieldType::kFLOAT32, 1}}) == nullptr);
    CHECK(logged().said("createPlugin: the field axis must be"));
    CHECK(make({{"axis", layouts, PluginFieldType::kINT32, 2}}) == nullptr);
    CHECK(logged().said("createPlugin: the field axis must be"));
    CHECK(make({{"axis", nullptr, PluginFieldType::kINT32, 1}}) == nullptr);
    CHECK(logged().said("createPlugin: the field axis must be"));

    // At run time the fields are those of an engine; the plugin in Python writes no layout.
    PluginField const field{"axis", &axis, PluginFieldType::kINT32, 1};
    CHECK(make({field}, TensorRTPhase::kRUNTIME) != nullptr);
    CHECK(logged().silent());
    CHECK(make({field, {"layout", &layouts[1], PluginFieldType::kINT32, 1}}, TensorRTPhase::kRUNTIME) == nullptr);
    CHECK(logged().said("a layout that this library does not know"));
    CHECK(make({field, {"layout", &layouts[0], PluginFieldType::kINT32, 1}}, TensorRTPhase::kRUNTIME) != nullptr);

    Finder finder;
    setLoggerFinder(&finder);
    CHECK(make({{"axis", &real, PluginFieldType::kFLOAT32, 1}}) == nullptr);
    CHECK(finder.asked == 1 && logged().said("createPlugin"));
    setLoggerFinder(nullptr);
}

void checkBuild()
{
    Plugin const plugin = make(-1);
    auto* const core = static_cast<IPluginV3OneCore*>(plugin->getCapabilityInterface(PluginCapabilityType::kCORE));
    CHECK(std::string(core->getPluginName()) == "GatherElementsPlugin");
    CHECK(std::string(core->getPluginVersion()) == "1" && std::string(core->getPluginNamespace()).empty());
    CHECK(std::string(core->getInterfaceInfo().kind) == "PLUGIN_V3ONE_CORE");
    CHECK(std::string(build(plugin).getInterfaceInfo().kind) == "PLUGIN_V3ONE_BUILD");
    CHECK(std::string(runtime(plugin).getInterfaceInfo().kind) == "PLUGIN_V3ONE_RUNTIME");
    CHECK(plugin->getCapabilityInterface(static_cast<PluginCapabilityType>(7)) == nullptr);
    IPluginV3OneBuild& one = build(plugin);
    CHECK(one.getNbOutputs() == 1);
    CHECK(one.getWorkspaceSize(nullptr, 2, nullptr, 1) == 0);

    for (DataType data : dataTypes())
    {
        DataType const inputs[]{data, DataType::kINT32};
        DataType output = data == DataType::kFLOAT ? DataType::kHALF : DataType::kFLOAT;
        CHECK(one.getOutputDataTypes(&output, 1, inputs, 2) == 0 && output == data);
    }
    DataType const real[]{DataType::kFLOAT, DataType::kFLOAT};
    DataType output = DataType::kFLOAT;
    CHECK(one.getOutputDataTypes(&output, 1, real, 2) != 0);
    CHECK(logged().said("the indices must be"));
    CHECK(one.getOutputDataTypes(&output, 1, real, 1) != 0);
    CHECK(logged().said("two inputs"));

    auto& builder = *static_cast<IExprBuilder*>(opaque());
    auto const* const symbol = static_cast<IDimensionExpr const*>(opaque());
    DimsExprs inputs[2]{};
    DimsExprs shape{};
    inputs[0].nbDims = inputs[1].nbDims = 3;
    inputs[1].d[0] = inputs[1].d[2] = symbol;
    CHECK(one.getOutputShapes(inputs, 2, nullptr, 0, &shape, 1, builder) == 0);
    CHECK(shape.nbDims == 3 && shape.d[0] == symbol && shape.d[2] == symbol && shape.d[1] == inputs[1].d[1]);
    inputs[1].nbDims = 2;
    CHECK(one.getOutputShapes(inputs, 2, nullptr, 0, &shape, 1, builder) != 0);
    CHECK(logged().said("of one rank"));
    Plugin const far = make(3);
    inputs[1].nbDims = 3;
    CHECK(build(far).getOutputShapes(inputs, 2, nullptr, 0, &shape, 1, builder) != 0);
    CHECK(logged().said("the axis must be"));

    checkFormats([](DataType const* declared) {
        Plugin const asked = make(-1);
        if (declared != nullptr)
        {
            DataType const types[]{*declared, DataType::kINT32};
            DataType answer = DataType::kBOOL;
            CHECK(build(asked).getOutputDataTypes(&answer, 1, types, 2) == 0 && answer == *declared);
        }
        std::shared_ptr<IPluginV3> const cloned(asked->clone());
        return Supports([cloned](int32_t position, PluginTensorDesc const* descs, int32_t inputs, int32_t outputs) {
            DynamicPluginTensorDesc dynamic[3]{};
            for (int32_t k = 0; descs != nullptr && k < 3; ++k)
            {
                dynamic[k].desc = descs[k];
            }
            auto* const choosing
                = static_cast<IPluginV3OneBuild*>(cloned->getCapabilityInterface(PluginCapabilityType::kBUILD));
            return choosing->supportsFormatCombination(
                position, descs == nullptr ? nullptr : dynamic, inputs, outputs);
        });
    });

    DynamicPluginTensorDesc in[2]{};
    DynamicPluginTensorDesc out[1]{};
    in[0].desc = descOf(DataType::kINT8, {-1, 3}, 0.5F);
    in[1].desc = descOf(DataType::kINT32, {-1, 3});
    out[0].desc = descOf(DataType::kINT8, {-1, 3}, 0.5F);
    CHECK(one.configurePlugin(in, 2, out, 1) == 0);
    out[0].desc.scale = 0.25F;
    CHECK(one.configurePlugin(in, 2, out, 1) != 0);
    CHECK(logged().said("different scales"));
}

void checkRuntime()
{
    Plugin const first = make(-1);
    PluginFieldCollection const kept = *runtime(first).getFieldsToSerialize();
    CHECK(kept.nbFields == 2);
    // An engine hands back copies of what it was given.
    std::vector<PluginField> fields;
    std::vector<int32_t> values;
    for (int32_t k = 0; k < kept.nbFields; ++k)
    {
        CHECK(kept.fields[k].type == PluginFieldType::kINT32 && kept.fields[k].length == 1);
        values.push_back(*static_cast<int32_t const*>(kept.fields[k].data));
    }
    for (int32_t k = 0; k < kept.nbFields; ++k)
    {
        fields.push_back({kept.fields[k].name, &values[static_cast<size_t>(k)], PluginFieldType::kINT32, 1});
    }
    Plugin const restored = make(fields, TensorRTPhase::kRUNTIME);
    CHECK(restored != nullptr);
    Plugin const cloned(restored->clone());
    std::shared_ptr<IPluginV3> const attached(runtime(cloned).attachToContext(nullptr));
    CHECK(attached != nullptr && attached.get() != cloned.get() && cloned.get() != restored.get());
    PluginTensorDesc const in[]{descOf(DataType::kFLOAT, {2, 3}), descOf(DataType::kINT32, {2, 9})};
    PluginTensorDesc out[]{descOf(DataType::kFLOAT, {2, 9})};
    CHECK(runtime(cloned).onShapeChange(in, 2, out, 1) == 0);
    out[0].dims = dimsOf({2, 8});
    CHECK(runtime(cloned).onShapeChange(in, 2, out, 1) != 0);
    CHECK(logged().said("not of the shape"));
    checkEnqueue(enqueueOf(attached), -1, 1);
    checkThreads(enqueueOf(attached), 1);
}
#endif

} // namespace

int main()
{
#if defined(ONNX_FIX_ON_GPU)
    checkAllOnGpu(
        "GatherElementsV3", [](int32_t axis) { return enqueueOf(std::shared_ptr<IPluginV3>(make(axis))); },
        [](int32_t axis) {
            std::shared_ptr<IPluginV3> const engine(make(axis));
            return Context([engine]() {
                auto* const run
                    = static_cast<IPluginV3OneRuntime*>(engine->getCapabilityInterface(PluginCapabilityType::kRUNTIME));
                return enqueueOf(std::shared_ptr<IPluginV3>(run->attachToContext(nullptr)));
            });
        });
#else
    checkCreator();
    checkBuild();
    checkRuntime();
#endif
    std::printf("%d failures\n", failures());
    return failures() == 0 ? 0 : 1;
}
