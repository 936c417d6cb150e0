#include "model/torchfile/pickle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace leapstream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<Pickle> Parse(absl::string_view body) {
  return Pickle::Parse(absl::StrCat(absl::string_view("\x80\x02", 2), body), "data.pkl");
}

std::string Text(absl::string_view text) {
  return absl::StrCat(absl::string_view("\x8c", 1), std::string(1, char(text.size())), text);
}

// The pickle of a tensor of a storage of `elements` numbers; sizes and strides are below 256.
std::string Tensor(int elements, int offset, std::initializer_list<int> shape,
                   std::initializer_list<int> strides) {
  const auto number = [](int value) { return std::string("K") + char(value); };
  std::string result = "ctorch._utils\n_rebuild_tensor_v2\n((" + Text("storage") +
                       "ctorch\nFloatStorage\n" + Text("0") + Text("cpu") + number(elements) + "tQ";
  result += number(offset);
  for (const auto& sizes : {shape, strides}) {
    result += "(";
    for (int value : sizes) result += number(value);
    result += "t";
  }
  return result + "\x89)tR.";
}

TEST(PickleTest, ReadsPlainValues) {
  // This is pickle.dumps({"a": [1, -2, 2.5, None, True], "b": ("x",)}, 2), written by hand.
  const auto pickle = Parse(absl::StrCat("}(", Text("a"), "](K\x01J\xfe\xff\xff\xff",
                                         absl::string_view("G\x40\x04\0\0\0\0\0\0", 9),
                                         "N\x88"
                                         "e",
                                         Text("b"), Text("x"), "\x85u."));
  ASSERT_TRUE(pickle.ok()) << pickle.status();
  const PickledValue& list = pickle->at(pickle->Find(pickle->root(), "a"));
  ASSERT_EQ(list.items.size(), 5u);
  EXPECT_EQ(pickle->at(list.items[0]).integer, 1);
  EXPECT_EQ(pickle->at(list.items[1]).integer, -2);
  EXPECT_EQ(pickle->at(list.items[2]).real, 2.5);
  EXPECT_EQ(pickle->at(list.items[3]).kind, ValueKind::kNone);
  EXPECT_EQ(pickle->at(list.items[4]).kind, ValueKind::kBool);
  EXPECT_EQ(pickle->at(pickle->Find(pickle->root(), "b")).kind, ValueKind::kTuple);
  EXPECT_EQ(pickle->Find(pickle->root(), "c"), kNoneValue);
}

TEST(PickleTest, ReadsLongIntegers) {
  const auto pickle = Parse(absl::string_view("\x8a\x02\x00\x80.", 5));  // -32768
  ASSERT_TRUE(pickle.ok()) << pickle.status();
  EXPECT_EQ(pickle->at(pickle->root()).integer, -32768);
}

TEST(PickleTest, EvilGlobalsStayInert) {
  const auto pickle = Parse("cos\nsystem\n" + Text("touch /tmp/pwned") + "\x85R.");
  ASSERT_TRUE(pickle.ok()) << pickle.status();
  const PickledValue& record = pickle->at(pickle->root());
  EXPECT_EQ(record.kind, ValueKind::kRecord);
  EXPECT_EQ(record.text, "os.system");
  EXPECT_EQ(pickle->at(pickle->at(record.args).items[0]).text, "touch /tmp/pwned");
}

TEST(PickleTest, RecordsKeepTheirState) {
  const auto pickle = Parse("cargparse\nNamespace\n)\x81}" + Text("arch") + Text("x") + "sb.");
  ASSERT_TRUE(pickle.ok()) << pickle.status();
  EXPECT_EQ(pickle->at(pickle->root()).text, "argparse.Namespace");
  EXPECT_EQ(pickle->at(pickle->Find(pickle->root(), "arch")).text, "x");
}

TEST(PickleTest, CirclesAreHarmless) {
  const auto pickle = Parse(absl::string_view("]q\0h\0a.", 7));
  ASSERT_TRUE(pickle.ok()) << pickle.status();
  EXPECT_THAT(pickle->at(pickle->root()).items, ElementsAre(pickle->root()));
}

TEST(PickleTest, ReadsTensors) {
  const auto pickle = Parse(Tensor(6, 0, {2, 3}, {1, 2}));
  ASSERT_TRUE(pickle.ok()) << pickle.status();
  const PickledTensor& tensor = pickle->tensor(pickle->at(pickle->root()));
  EXPECT_THAT(tensor.shape, ElementsAre(2, 3));
  EXPECT_THAT(tensor.strides, ElementsAre(1, 2));
  EXPECT_EQ(tensor.storage.elements, 6);
  EXPECT_EQ(tensor.storage.key, "0");
}

// PyTorch 2 writes tensors of such types with a storage of bytes, and the type as the seventh
// argument.
TEST(PickleTest, ReadsTensorsOfTypesWithoutAStorageOfTheirOwn) {
  const auto tensor = [](const std::string& type) {
    return "ctorch._utils\n_rebuild_tensor_v3\n((" + Text("storage") +
           "ctorch.storage\nUntypedStorage\n" + Text("0") + Text("cpu") + "K\x08tQ" +
           std::string("K\0", 2) + "K\x02\x85K\x01\x85\x89)ctorch\n" + type + "\n}tR.";
  };
  for (const char* type : {"uint16", "uint32", "uint64", "float8_e4m3fnuz", "float4_of_2099"}) {
    const auto pickle = Parse(tensor(type));
    ASSERT_TRUE(pickle.ok()) << pickle.status();
    const PickledTensor& read = pickle->tensor(pickle->at(pickle->root()));
    EXPECT_EQ(read.storage.type, StorageType::kOther);
    EXPECT_EQ(read.storage.TypeName(), type);
    EXPECT_THAT(read.shape, ElementsAre(2));
  }
  const auto pickle = Parse(tensor("float32"));
  ASSERT_TRUE(pickle.ok()) << pickle.status();
  const PickledTensor& read = pickle->tensor(pickle->at(pickle->root()));
  EXPECT_EQ(read.storage.type, StorageType::kFloat32);
  EXPECT_EQ(read.storage.elements, 2);
  EXPECT_FALSE(Parse(tensor("float64")).ok());  // There are 8 bytes, and two of them need 16.
}

TEST(PickleTest, RefusesTensorsOutsideTheirStorage) {
  for (const std::string& bad :
       {Tensor(6, 1, {2, 3}, {3, 1}), Tensor(5, 0, {2, 3}, {3, 1}), Tensor(6, 0, {2, 3}, {4, 1}),
        Tensor(0, 0, {}, {}), Tensor(6, 0, {2, 3}, {1})}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Parse(bad).status()));
  }
  // A tensor without elements has none outside its storage.
  EXPECT_TRUE(Parse(Tensor(0, 9, {0, 3}, {3, 1})).ok());
  EXPECT_THAT(
      std::string(
          Parse("}(" + Text("encoder.w") + Tensor(5, 0, {2, 3}, {3, 1})).status().message()),
      HasSubstr("a tensor after \"encoder.w\" reaches outside its storage 0: offset 0, shape "
                "[2, 3], strides [3, 1], but the storage has 5 elements"));
}

TEST(PickleTest, RefusesSizesThatOverflow) {
  const std::string huge("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", 10);  // 2^63 - 1
  const std::string head = "ctorch._utils\n_rebuild_tensor_v2\n((" + Text("storage") +
                           "ctorch\nFloatStorage\n" + Text("0") + Text("cpu") + "K\x06tQ";
  EXPECT_FALSE(
      Parse(head + std::string("K\0", 2) + huge + huge + "\x86" + huge + huge + "\x86\x89)tR.")
          .ok());
  EXPECT_FALSE(Parse(head + huge + "K\x01\x85K\x01\x85\x89)tR.").ok());
}

TEST(PickleTest, RefusesBadPickles) {
  const std::string text4("X\xff\xff\xff\xff", 5), text8("\x8d\xff\xff\xff\xff\xff\xff\xff\xff", 9);
  for (const std::string& bad :
       {std::string(""), std::string("N"), std::string("."), std::string("\xff."),
        std::string("I1\n."), text4, text8, std::string("t."), std::string("a."),
        std::string("h\x05."), std::string("NNb."), std::string("NNR."), std::string("(N}u."),
        std::string("cos\nsystem"), std::string("N\x93."), std::string("(0N0."),
        std::string("K\x01K\x01\x87."), std::string("q\x01.")}) {
    const auto pickle = Parse(bad);
    EXPECT_TRUE(absl::IsInvalidArgument(pickle.status())) << bad << pickle.status();
  }
  EXPECT_THAT(std::string(Parse("\xff.").status().message()),
              HasSubstr("unknown pickle opcode 0xff"));
  EXPECT_FALSE(Pickle::Parse("", "f").ok());
  EXPECT_TRUE(Pickle::Parse("\x80\x05N.", "f").ok());
  EXPECT_FALSE(Pickle::Parse("\x80\x06N.", "f").ok());
}

TEST(PickleTest, BoundsWhatItKeeps) {
  EXPECT_TRUE(absl::IsResourceExhausted(Parse(std::string(20'000, '(')).status()));
  EXPECT_TRUE(absl::IsResourceExhausted(Parse(std::string(3'000'000, ']')).status()));
  EXPECT_TRUE(absl::IsResourceExhausted(Parse(std::string(5'000'000, 'N')).status()));
  EXPECT_TRUE(absl::IsResourceExhausted(Pickle::Parse(std::string(65 << 20, 'N'), "f").status()));
  // A million lists within each other are parsed and destroyed without recursion.
  std::string nested(1'000'000, ']');
  EXPECT_TRUE(Parse(nested + std::string(999'999, 'a') + ".").ok());
  // Each call copies a list of 100,000 items.
  std::string calls = "]q\1(" + std::string(100'000, 'N') + "ec__builtin__\nset\nq\2";
  for (int i = 0; i < 2'000; ++i) calls += "h\2h\1\x85R";
  EXPECT_TRUE(absl::IsResourceExhausted(Parse(calls).status()));
}

}  // namespace
}  // namespace leapstream
