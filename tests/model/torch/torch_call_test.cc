// Exceptions of LibTorch become a status, by whose code the scheduler tells a server that is full
// from one that is broken.
#include "model/torch/torch_call.h"

#include <new>
#include <string>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace leapstream {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(TorchCallTest, MemoryThatIsNotThereIsNamed) {
  const absl::Status status = TorchCall("deciding tokens", 1, [] {
    at::empty({int64_t{1} << 58});  // More than there are addresses.
    return absl::OkStatus();
  });
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("deciding tokens"));
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr("\n")));
}

TEST(TorchCallTest, MemoryOfADeviceIsNamed) {
  const absl::Status status = TorchCall("deciding tokens", 1, []() -> absl::Status {
    TORCH_CHECK_WITH(OutOfMemoryError, false, "CUDA out of memory. Tried to allocate 20.00 MiB");
    return absl::OkStatus();
  });
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("Tried to allocate 20.00 MiB"));
  for (const char* why : {"CUDA error: out of memory",
                          "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"}) {
    const absl::Status lack = TorchCall("deciding tokens", 1, [why]() -> absl::Status {
      TORCH_CHECK(false, why);
      return absl::OkStatus();
    });
    EXPECT_TRUE(absl::IsResourceExhausted(lack)) << lack;
  }
  EXPECT_TRUE(absl::IsResourceExhausted(
      TorchCall("a state", 1, []() -> absl::Status { throw std::bad_alloc(); })));
}

TEST(TorchCallTest, OtherErrorsAreInternal) {
  const absl::Status status = TorchCall("deciding tokens", 1, [] {
    at::ones({2}) + at::ones({3});
    return absl::OkStatus();
  });
  EXPECT_TRUE(absl::IsInternal(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("size of tensor"));
}

}  // namespace
}  // namespace leapstream
