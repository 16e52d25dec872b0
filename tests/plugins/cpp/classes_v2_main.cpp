// GatherElementsV2 and its creator, as TensorRT would call them.

#include "classes.h"

#include "plugin_v2.h"

#include <memory>

#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#endif

#if ONNX_FIX_HAS_V3
extern "C" IPluginCreatorInterface* const* getCreators(int32_t& nbCreators) noexcept;
#elif ONNX_FIX_HAS_ENTRY_POINTS
extern "C" IPluginCreator* const* getPluginCreators(int32_t& nbCreators) noexcept;
#endif

namespace
{

IPluginCreator* creator()
{
#if ONNX_FIX_HAS_V3
    int32_t count = 0;
    auto* const one = static_cast<IPluginCreator*>(getCreators(count)[0]);
    CHECK(count == 1 && std::string(one->getInterfaceInfo().kind) == "PLUGIN CREATOR_V1");
    return one;
#elif ONNX_FIX_HAS_ENTRY_POINTS
    int32_t count = 0;
    IPluginCreator* const one = getPluginCreators(count)[0];
    CHECK(count == 1);
    return one;
#else
    static onnx_fix::GatherElementsCreatorV2 only;
    return &only;
#endif
}

struct Destroy
{
    void operator()(IPluginV2* plugin) const
    {
        plugin->destroy();
    }
};

using Plugin = std::unique_ptr<IPluginV2DynamicExt, Destroy>;

Plugin owned(IPluginV2* plugin)
{
    return Plugin(static_cast<IPluginV2DynamicExt*>(plugin));
}

Plugin make(std::vector<PluginField> const& fields)
{
    PluginFieldCollection const collection = fieldsOf(fields);
    return owned(creator()->createPlugin("node", &collection));
}

Plugin make(int32_t axis)
{
    return make({PluginField{"axis", &axis, PluginFieldType::kINT32, 1}});
}

Enqueue enqueueOf(std::shared_ptr<IPluginV2DynamicExt> const& plugin)
{
    return [plugin](PluginTensorDesc const* in, PluginTensorDesc const* out, void const* const* inputs,
               void* const* outputs, cudaStream_t stream) {
        return plugin->enqueue(in, out, inputs, outputs, nullptr, stream);
    };
}

#if !defined(ONNX_FIX_ON_GPU)
void checkCreator()
{
    IPluginCreator* const one = creator();
    CHECK(std::string(one->getPluginName()) == "GatherElementsPlugin");
    CHECK(std::string(one->getPluginVersion()) == "1");
    CHECK(std::string(one->getPluginNamespace()).empty());
    PluginFieldCollection const* const names = one->getFieldNames();
    CHECK(names->nbFields == 1 && std::string(names->fields[0].name) == "axis");
    CHECK(names->fields[0].type == PluginFieldType::kINT32);
    CHECK(onnxFixRegisterPlugins() == 0);

    float const real = 1.0F;
    CHECK(make(std::vector<PluginField>{}) != nullptr);
    CHECK(logged().silent());
    CHECK(make({PluginField{"axis", &real, PluginFieldType::kFLOAT32, 1}}) == nullptr);
    CHECK(logged().said("createPlugin: the field axis must be"));
    unsigned char const bytes[16]{'O', 'F', 'G', 'E', 2, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0};
    CHECK(one->deserializePlugin("node", bytes, 16) == nullptr);
    CHECK(logged().said("a layout that this library does not know"));
    CHECK(one->deserializePlugin("node", bytes, 12) == nullptr);
    CHECK(logged().said("too few bytes"));
}

void checkBuild()
{
    Plugin const plugin = make(-1);
    CHECK(std::string(plugin->getPluginType()) == "GatherElementsPlugin");
    CHECK(std::string(plugin->getPluginVersion()) == "1" && std::string(plugin->getPluginNamespace()).empty());
    CHECK(plugin->getNbOutputs() == 1);
    CHECK(plugin->getWorkspaceSize(nullptr, 2, nullptr, 1) == 0);
    for (DataType data : dataTypes())
    {
        DataType const inputs[]{data, DataType::kINT32};
        CHECK(plugin->getOutputDataType(0, inputs, 2) == data);
    }
    CHECK(logged().silent());
    DataType const real[]{DataType::kFLOAT, DataType::kFLOAT};
    plugin->getOutputDataType(0, real, 2);
    CHECK(logged().said("the indices must be"));

    auto& builder = *static_cast<IExprBuilder*>(opaque());
    auto const* const symbol = static_cast<IDimensionExpr const*>(opaque());
    DimsExprs inputs[2]{};
    inputs[0].nbDims = inputs[1].nbDims = 3;
    inputs[1].d[0] = inputs[1].d[2] = symbol;
    DimsExprs const shape = plugin->getOutputDimensions(0, inputs, 2, builder);
    CHECK(shape.nbDims == 3 && shape.d[0] == symbol && shape.d[2] == symbol && shape.d[1] == inputs[1].d[1]);
    inputs[1].nbDims = 2;
    CHECK(plugin->getOutputDimensions(0, inputs, 2, builder).nbDims == -1);
    CHECK(logged().said("of one rank"));
    CHECK(plugin->getOutputDimensions(1, inputs, 2, builder).nbDims == -1);
    CHECK(logged().said("two inputs"));
    checkFormats([](DataType const* declared) {
        Plugin const asked = make(-1);
        if (declared != nullptr)
        {
            DataType const types[]{*declared, DataType::kINT32};
            CHECK(asked->getOutputDataType(0, types, 2) == *declared);
        }
        std::shared_ptr<IPluginV2DynamicExt> const cloned(asked->clone(), Destroy{});
        return Supports([cloned](int32_t position, PluginTensorDesc const* descs, int32_t inputs, int32_t outputs) {
            return cloned->supportsFormatCombination(position, descs, inputs, outputs);
        });
    });
}

void checkRuntime()
{
    Plugin const first = make(-1);
    first->setPluginNamespace("space");
    CHECK(first->getSerializationSize() == 16);
    std::vector<unsigned char> kept(first->getSerializationSize());
    first->serialize(kept.data());
    unsigned char const expected[16]{'O', 'F', 'G', 'E', 1, 0, 0, 0, 4, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF};
    CHECK(std::memcmp(kept.data(), expected, sizeof(expected)) == 0);
    Plugin const restored = owned(creator()->deserializePlugin("node", kept.data(), kept.size()));
    CHECK(restored != nullptr && restored->initialize() == 0);
    Plugin const named(first->clone());
    CHECK(std::string(named->getPluginNamespace()) == "space");
    std::shared_ptr<IPluginV2DynamicExt> const cloned(restored->clone(), Destroy{});
    CHECK(cloned != nullptr && cloned.get() != restored.get());
    checkEnqueue(enqueueOf(cloned), -1, 1);
    checkThreads(enqueueOf(cloned), 1);
    restored->terminate();
}
#endif

} // namespace

int main()
{
#if defined(ONNX_FIX_ON_GPU)
    checkAllOnGpu(
        "GatherElementsV2",
        [](int32_t axis) { return enqueueOf(std::shared_ptr<IPluginV2DynamicExt>(make(axis).release(), Destroy{})); },
        [](int32_t axis) {
            std::shared_ptr<IPluginV2DynamicExt> const engine(make(axis).release(), Destroy{});
            return Context(
                [engine]() { return enqueueOf(std::shared_ptr<IPluginV2DynamicExt>(engine->clone(), Destroy{})); });
        });
#else
    checkCreator();
    checkBuild();
    checkRuntime();
#endif
    std::printf("%d failures\n", failures());
    return failures() == 0 ? 0 : 1;
}
