#include "server/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace leapstream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(ConfigTest, ReadsEverySetting) {
  ServerConfig config;
  ASSERT_TRUE(ApplyYaml("# comment\nlisten: localhost:1\nmodels: [a, b]\nport_file: p\n"
                        "log_level: warn\nlog_text: true\n",
                        "x.yaml", &config)
                  .ok());
  EXPECT_EQ(config.server.listen, "localhost:1");
  EXPECT_THAT(config.model_directories, ElementsAre("a", "b"));
  EXPECT_EQ(config.port_file, "p");
  EXPECT_EQ(config.log_level, "warn");
  EXPECT_TRUE(config.server.log_text);
}

TEST(ConfigTest, AnEmptyFileChangesNothing) {
  ServerConfig config;
  EXPECT_TRUE(ApplyYaml("", "x.yaml", &config).ok());
  EXPECT_TRUE(ApplyYaml("# nothing\n", "x.yaml", &config).ok());
  EXPECT_EQ(config.server.listen, ServerOptions().listen);
}

TEST(ConfigTest, ErrorsNameFileAndLine) {
  const struct {
    const char* yaml;
    const char* message;
  } kCases[] = {
      {"listen: a:1\nlisen: b:1\n", "x.yaml:2: unknown setting lisen"},
      {"listen: a:1\nlisten: b:1\n", "x.yaml:2: listen was set"},
      {"\nlog_text: maybe\n", "x.yaml:2: log_text must be"},
      {"listen: [a]\n", "x.yaml:1: listen must be a text"},
      {"listen:\n", "listen must be a text"},
      {"models: a\n", "x.yaml:1: models must be a list"},
      {"models:\n  - a\n  - {b: c}\n", "x.yaml:3: a model must be"},
      {"log_level: loud\n", "x.yaml:1: log_level must be"},
      {"- a\n", "x.yaml:1: expected a map"},
      {"[a]: b\n", "x.yaml:1: expected the name"},
      {"a\n", "x.yaml:1: expected a map"},
      {"listen: [\n", "x.yaml:"},
      {"\tlisten: a", "x.yaml:"},
      {"a: &b *b", "x.yaml:"},
  };
  for (const auto& test : kCases) {
    ServerConfig config;
    const absl::Status status = ApplyYaml(test.yaml, "x.yaml", &config);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << test.yaml;
    EXPECT_THAT(std::string(status.message()), HasSubstr(test.message)) << test.yaml;
  }
}

TEST(ConfigTest, FlagsWinOverTheFile) {
  const std::string path = testing::TempDir() + "/config_test.yaml";
  std::ofstream(path) << "listen: a:1\nmodels: [x]\nlog_level: warn\n";
  const char* argv[] = {"leapstream-server", "--config", path.c_str(), "--model", "m",
                        "--model",           "n",        "--listen",   "b:2"};
  const auto config = ParseCommandLine(9, argv);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(config->model_directories, ElementsAre("m", "n"));
  EXPECT_EQ(config->server.listen, "b:2");
  EXPECT_EQ(config->log_level, "warn");
}

TEST(ConfigTest, BadCommandLines) {
  const char* none[] = {"leapstream-server"};
  EXPECT_EQ(ParseCommandLine(1, none).status().code(), absl::StatusCode::kInvalidArgument);
  const char* unknown[] = {"leapstream-server", "--modle", "m"};
  EXPECT_EQ(ParseCommandLine(3, unknown).status().code(), absl::StatusCode::kInvalidArgument);
  const char* level[] = {"leapstream-server", "--model", "m", "--log-level", "loud"};
  EXPECT_EQ(ParseCommandLine(5, level).status().code(), absl::StatusCode::kInvalidArgument);
  const char* missing[] = {"leapstream-server", "--config", "/nowhere/x.yaml"};
  EXPECT_EQ(ParseCommandLine(3, missing).status().code(), absl::StatusCode::kNotFound);
  const char* help[] = {"leapstream-server", "--help"};
  ASSERT_TRUE(ParseCommandLine(2, help).ok());
  EXPECT_THAT(ParseCommandLine(2, help)->help, HasSubstr("--port-file"));
}

}  // namespace
}  // namespace leapstream
