#include "server/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/config/installed_files.h"

namespace leapstream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> Directories(const ServerConfig& config) {
  std::vector<std::string> directories;
  for (const ModelSource& model : config.models) directories.push_back(model.directory);
  return directories;
}

TEST(ConfigTest, ReadsEverySetting) {
  ServerConfig config;
  ASSERT_TRUE(ApplyYaml("# comment\nlisten: localhost:1\nmodels: [a, b]\nport_file: p\n"
                        "log_level: warn\nlog_text: true\npause_threshold_db: -40.5\n",
                        "x.yaml", &config)
                  .ok());
  EXPECT_EQ(config.server.listen, "localhost:1");
  EXPECT_THAT(Directories(config), ElementsAre("a", "b"));
  EXPECT_EQ(config.port_file, "p");
  EXPECT_EQ(config.log_level, "warn");
  EXPECT_TRUE(config.server.log_text);
  EXPECT_EQ(config.server.pause.threshold_db, -40.5);
}

TEST(ConfigTest, AModelMayHaveAGlossary) {
  ServerConfig config;
  const absl::Status status =
      ApplyYaml("models:\n  - {path: a, glossary: terms.tsv}\n", "x.yaml", &config);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(config.models[0].glossary, "terms.tsv");
  EXPECT_THAT(PrintConfig(config), HasSubstr("    glossary: terms.tsv\n"));
  const absl::Status missing = CheckFiles(config);
  EXPECT_THAT(std::string(missing.message()), HasSubstr("terms.tsv"));
}

TEST(ConfigTest, AnEmptyFileChangesNothing) {
  ServerConfig config;
  EXPECT_TRUE(ApplyYaml("", "x.yaml", &config).ok());
  EXPECT_TRUE(ApplyYaml("# nothing\n", "x.yaml", &config).ok());
  EXPECT_TRUE(ApplyYaml("---\n---\n", "x.yaml", &config).ok());
  EXPECT_EQ(config.server.listen, ServerOptions().listen);
}

TEST(ConfigTest, ErrorsNameFileAndLine) {
  const struct {
    const char* yaml;
    const char* message;
  } kCases[] = {
      {"listen: a:1\nlisen: b:1\n", "x.yaml:2: unknown setting \"lisen\"; is listen meant?"},
      {"listen: a:1\nlisten: b:1\n", "x.yaml:2: listen was set"},
      {"\nlog_text: maybe\n", "x.yaml:2: log_text must be"},
      {"listen: [a]\n", "x.yaml:1: listen must be a text"},
      {"listen:\n", "x.yaml:1: listen has no value"},
      {"listen:\n\n\nlog_text: true\n", "x.yaml:1: listen has no value"},
      {"log_text: true\nidle_timeout: # none\n", "x.yaml:2: idle_timeout has no value"},
      {"models: ~\nlog_text: true\n", "x.yaml:1: models has no value"},
      {"\nmodels:\n  -\nlog_text: true\n", "x.yaml:2: models has an entry that is empty"},
      {"models:\n  - {path: }\n", "x.yaml:2: a model must be"},
      {"listen: a:1\n---\nlog_text: true\n", "x.yaml:3: a second YAML document"},
      {"---\nlisten: a:1\n---\nlisen: a:1\n", "x.yaml:4: a second YAML document"},
      {"models: a\n", "x.yaml:1: models must be a list"},
      {"models:\n  - a\n  - {b: c}\n", "x.yaml:3: unknown setting \"b\" of a model"},
      {"models:\n  - a\n  - [b]\n", "x.yaml:3: a model must be"},
      {"models:\n  - name: a\n", "x.yaml:2: a model must be"},
      {"models:\n  - {path: a, compute_type: int9}\n", "x.yaml:2: compute_type must be float32"},
      {"models:\n  - {path: a, state_type: int8}\n", "x.yaml:2: state_type must be float32"},
      {"state_type: bfloat16\n", "x.yaml:1: state_type must be"},
      {"listen: localhost\n", "x.yaml:1: listen must be HOST:PORT"},
      {"max_sessions: many\n", "x.yaml:1: max_sessions must be a number from 0 to 1000000"},
      {"max_sessions: 1.5\n", "x.yaml:1: max_sessions must be a number"},
      {"max_sessions: -1\n", "x.yaml:1: max_sessions must be a number"},
      {"idle_timeout: 5\n", "x.yaml:1: idle_timeout must be a duration"},
      {"log_text: [true]\n", "x.yaml:1: log_text must be a true or false"},
      {"log_format: xml\n", "x.yaml:1: log_format must be text or json"},
      {"idle_timout: 5s\n", "is idle_timeout meant?"},
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
  EXPECT_THAT(Directories(*config), ElementsAre("m", "n"));
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
  EXPECT_THAT(ParseCommandLine(2, help)->output, HasSubstr("--port-file"));
}

absl::StatusOr<ServerConfig> Parse(std::vector<const char*> flags,
                                   std::vector<const char*> environment = {}) {
  flags.insert(flags.begin(), "leapstream-server");
  environment.push_back(nullptr);
  return ParseCommandLine(static_cast<int>(flags.size()), flags.data(), environment.data());
}

void ExpectWrong(const absl::StatusOr<ServerConfig>& config, const std::string& message) {
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument) << message;
  EXPECT_THAT(std::string(config.status().message()), HasSubstr(message));
}

TEST(ConfigTest, TheEnvironmentWinsOverTheFileAndFlagsOverIt) {
  const std::string path = testing::TempDir() + "/config_test_env.yaml";
  std::ofstream(path) << "models: [x]\nlog_level: warn\nidle_timeout: 1s\nmax_sessions: 1\n";
  const std::string config_path = "LEAPSTREAM_CONFIG=" + path;
  const auto config =
      Parse({"--max-sessions", "3"},
            {config_path.c_str(), "LEAPSTREAM_MAX_SESSIONS=2", "LEAPSTREAM_IDLE_TIMEOUT=2s",
             "LEAPSTREAM_LOG_TEXT=true", "LEAPSTREAM_MODELS=a,b", "HOME=/"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(Directories(*config), ElementsAre("a", "b"));
  EXPECT_EQ(config->server.max_sessions, 3);
  EXPECT_EQ(config->server.limits.idle_timeout, absl::Seconds(2));
  EXPECT_EQ(config->log_level, "warn");
  EXPECT_TRUE(config->server.log_text);
  EXPECT_EQ(config->origins.at("max_sessions"), "--max-sessions");
  EXPECT_EQ(config->origins.at("idle_timeout"), "LEAPSTREAM_IDLE_TIMEOUT");
  EXPECT_EQ(config->origins.at("log_level"), path + ":2");
}

TEST(ConfigTest, FilesAreInstalledBesideTheFolderOfTheProgram) {
  std::string prefix = testing::TempDir() + "/config_test.XXXXXX";
  ASSERT_NE(mkdtemp(prefix.data()), nullptr);
  EXPECT_EQ(FilesInstalledWith(prefix + "/bin/leapstream-server").config, "");
  EXPECT_EQ(FilesInstalledWith(prefix + "/bin/leapstream-server").model, "");
  const std::string config = prefix + "/etc/leapstream/server.yaml";
  const std::string model = prefix + "/share/leapstream/models/en-de";
  ASSERT_EQ(std::system(absl::StrCat("mkdir -p ", prefix, "/etc/leapstream ", model, " && touch ", config).c_str()), 0);
  EXPECT_EQ(FilesInstalledWith(prefix + "/bin/leapstream-server").config, config);
  EXPECT_EQ(FilesInstalledWith(prefix + "/bin/leapstream-server").model, model);
}

TEST(ConfigTest, UnknownVariablesAreErrorsButForThoseOfKubernetes) {
  ExpectWrong(Parse({"--model", "m"}, {"LEAPSTREAM_LISEN=a:1"}), "is LEAPSTREAM_LISTEN meant?");
  ExpectWrong(Parse({"--model", "m"}, {"LEAPSTREAM_LISTEN=a"}), "LEAPSTREAM_LISTEN must be HOST");
  const auto config = Parse(
      {"--model", "m"}, {"LEAPSTREAM_SERVICE_HOST=10.0.0.1", "LEAPSTREAM_SERVICE_PORT_GRPC=50051",
                         "LEAPSTREAM_PORT=tcp://10.0.0.1:50051",
                         "LEAPSTREAM_PORT_50051_TCP_ADDR=10.0.0.1", "LEAPSTREAM_PORT_FILE=f"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->port_file, "f");
}

TEST(ConfigTest, UnknownFlagsNameTheNearest) {
  ExpectWrong(Parse({"--modle", "m"}), "unknown flag \"--modle\"; is --model meant?");
  // A switch may have no value, before another flag and at the end.
  const auto switched = Parse({"--log-text", "--model", "m", "--drain-stops-listening"});
  ASSERT_TRUE(switched.ok()) << switched.status();
  EXPECT_TRUE(switched->server.log_text && switched->server.drain_stops_listening);
  ExpectWrong(Parse({"--model", "m", "--idle-timout=3s"}), "is --idle-timeout meant?");
  ExpectWrong(Parse({"m"}), "every argument must belong to a flag");
}

TEST(ConfigTest, AddressesAreCheckedAtStart) {
  for (const char* address :
       {"", "localhost", "localhost:", "localhost:99999", "localhost:-1", "localhost:+5", ":1",
        "::1:50051", "[::1]", "host name:1", "localhost:1x", "localhost: 1", "[::1:5"}) {
    const auto config = Parse({"--model", "m", "--listen", address});
    ExpectWrong(config, "--listen must be HOST:PORT with a port from 0 to 65535");
  }
  for (const char* address : {"localhost:0", "0.0.0.0:65535", "[::]:50051", "[::1]:1"}) {
    EXPECT_TRUE(Parse({"--model", "m", "--listen", address}).ok()) << address;
  }
}

TEST(ConfigTest, AFolderIsNoConfiguration) {
  const std::string folder = testing::TempDir();
  const auto config = Parse({"--config", folder.c_str()});
  EXPECT_EQ(config.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(config.status().message()), HasSubstr("Is a directory"));
}

TEST(ConfigTest, ContradictionsAreErrorsWithTheirPlace) {
  const struct {
    const char* yaml;
    const char* message;
  } kCases[] = {
      {"models: [m]\ntls_key_file: k\n", ":2: tls_key_file needs tls_certificate_file"},
      {"models: [m]\ntls_certificate_file: c\n", ":2: tls_certificate_file needs tls_key_file"},
      {"models: [m]\ntls_client_ca_file: c\n", ":2: tls_client_ca_file needs"},
      {"models: [m]\nauth_tokens_file: t\n", ":2: auth_tokens_file needs tls_certificate_file"},
      {"models: [m]\nmax_sessions_per_principal: 3\n", ":2: max_sessions_per_principal needs"},
      {"models: [m]\nmax_characters_per_minute: 3\n",
       ":2: max_characters_per_minute needs auth_tokens_file or tls_client_ca_file"},
      {"models: [m]\nmax_characters_per_day: 3\n", ":2: max_characters_per_day needs"},
      {"models: [m]\nmax_characters_per_day: 2000000000000\n",
       ":2: max_characters_per_day must be a number from 0 to 1000000000000, got"},
      {"models: [m]\nauth_tokens_file: t\nauth_without_tls: true\nmax_sessions: 2\n"
       "max_sessions_per_principal: 3\n",
       ":5: max_sessions_per_principal must not be more than max_sessions"},
      {"models: [m]\nadmin_listen: 0.0.0.0:1\n", ":2: admin_listen must be an address of this"},
      {"models: [m]\nlisten: a:7\nmetrics_listen: b:7\n", ":3: metrics_listen must have another"},
      {"models: [m]\npause: 50ms\n",
       ":2: pause is wrong: a pause that ends a segment needs to last "
       "from 100ms to 1m, got 50ms; 0 turns it off"},
      {"models: [m]\npause_threshold_db: 3\n", ":2: pause_threshold_db must be a number from -90"},
      {"models: [m]\nkeepalive_timeout: 1ms\n", ":2: keepalive_timeout must be 1s"},
      {"models: [m]\nmax_chunk_bytes: 1048576\n", ":2: max_chunk_bytes must leave room"},
      {"listen: a:1\n", "no model to serve"},
  };
  for (const auto& test : kCases) {
    const std::string path = testing::TempDir() + "/config_test_bad.yaml";
    std::ofstream(path) << test.yaml;
    ExpectWrong(Parse({"--config", path.c_str()}), test.message);
  }
}

TEST(ConfigTest, WhatIsPrintedReadsTheSame) {
  const std::string path = testing::TempDir() + "/config_test_print.yaml";
  std::ofstream(path) << "models:\n  - {path: a, name: 'x: #\"y', compute_type: int8, state_type: float16}\n  - b\n"
                         "listen: '[::1]:5'\nidle_timeout: 90s\nlog_text: true\n"
                         "port_file: 'a \"b\" # c'\n";
  const auto config = Parse({"--config", path.c_str(), "--max-sessions", "7", "--print-config"},
                            {"LEAPSTREAM_DRAIN_DELAY=4s"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(config->output, HasSubstr("max_sessions: 7  # --max-sessions\n"));
  EXPECT_THAT(config->output, HasSubstr("idle_timeout: 1m30s  # " + path + ":5\n"));
  EXPECT_THAT(config->output, HasSubstr("drain_delay: 4s  # LEAPSTREAM_DRAIN_DELAY\n"));
  EXPECT_THAT(config->output, HasSubstr("drain_timeout: 30s  # default\n"));
  ServerConfig again;
  const absl::Status status = ApplyYaml(config->output, "again", &again);
  ASSERT_TRUE(status.ok()) << status << "\n" << config->output;
  ServerConfig same = *config;
  same.origins.clear();
  again.origins.clear();
  EXPECT_EQ(PrintConfig(again), PrintConfig(same));
  EXPECT_EQ(again.models[0].name, "x: #\"y");
  EXPECT_EQ(again.models[0].compute_type, "int8");
  EXPECT_EQ(again.models[0].state_type, "float16");
}

TEST(ConfigTest, TheShippedFileNamesEverySettingWithItsDefault) {
  std::ifstream file(LEAPSTREAM_SOURCE_DIR "/configs/server.yaml");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  ServerConfig config;
  ASSERT_TRUE(ApplyYaml(text, "configs/server.yaml", &config).ok());
  EXPECT_TRUE(CheckConfig(config).ok());
  for (absl::string_view line : absl::StrSplit(PrintConfig(config), '\n')) {
    const absl::string_view key = line.substr(0, line.find(':'));
    if (key.empty() || key[0] == ' ') continue;
    EXPECT_THAT(text, HasSubstr(absl::StrCat(
                          "\n", config.origins.count(std::string(key)) > 0 ? "" : "# ", key, ":")))
        << key;
  }
}

TEST(ConfigTest, WhatIsNoFileIsNotWaitedFor) {
  const std::string fifo = testing::TempDir() + "/config_test_fifo";
  unlink(fifo.c_str());
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  for (const std::string& path : {fifo, std::string("/dev/zero"), std::string("/dev/tty")}) {
    EXPECT_FALSE(Parse({"--config", path.c_str()}).ok()) << path;
    for (const char* flag : {"--resume-key-file", "--auth-tokens-file"}) {
      EXPECT_FALSE(Parse({"--model", "m", "--auth-without-tls", flag, path.c_str(),
                          "--check-config"})
                       .ok())
          << flag << " " << path;
    }
  }
}

TEST(ConfigTest, CheckConfigReadsTheFiles) {
  EXPECT_FALSE(Parse({"--model", "m", "--resume-key-file", "/nowhere", "--check-config"}).ok());
  const auto config =
      Parse({"--model", LEAPSTREAM_SOURCE_DIR "/model/pretrained/en-de", "--check-config"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->output, "the configuration is good\n");
  EXPECT_TRUE(config->check_models);
}

}  // namespace
}  // namespace leapstream
