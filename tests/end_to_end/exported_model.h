#ifndef LEAPSTREAM_TESTS_END_TO_END_EXPORTED_MODEL_H_
#define LEAPSTREAM_TESTS_END_TO_END_EXPORTED_MODEL_H_

#include <string>

#include "gtest/gtest.h"
#include "tests/end_to_end/processes.h"

namespace leapstream {

// Exports a small model with soft-max attention, whose states grow with their text, and returns its
// directory, which is in `folder`. Needs leapstream-export.
inline std::string ExportSoftmaxModel(const TestFolder& folder, const std::string& name = "en-de") {
  const std::string golden = LEAPSTREAM_SOURCE_DIR "/tests/golden/reference/";
  const std::string data = golden + "data/joint";
  const std::string model = folder / "softmax", log = folder / "export.log";
  Process exporter;
  exporter.Start({LEAPSTREAM_BINARY_DIR "/bin/leapstream-export", "--checkpoint",
                  golden + "checkpoints/softmax_postnorm.pt", "--source-dict",
                  data + "/dict.en.txt", "--target-dict", data + "/dict.de.txt", "--source-spm",
                  data + "/spm.model", "--target-spm", data + "/spm.model", "--source-lang", "en",
                  "--target-lang", "de", "--name", name, "--output", model},
                 log);
  EXPECT_EQ(exporter.Wait(), 0) << ReadFile(log);
  return model;
}

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_END_TO_END_EXPORTED_MODEL_H_
