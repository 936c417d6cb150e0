// The files of docker/ parse, and their numbers fit to each other and to the server's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"
#include "base/budget.h"
#include "server/config/config.h"

namespace leapstream {
namespace {

namespace fs = std::filesystem;
constexpr char kDocker[] = LEAPSTREAM_SOURCE_DIR "/docker/";

std::string ReadFile(const fs::path& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

absl::Duration Duration(const std::string& text) {
  absl::Duration duration;
  EXPECT_TRUE(absl::ParseDuration(text, &duration)) << text;
  return duration;
}

// The durations that `pattern` captures; fails if there is none.
std::vector<absl::Duration> Durations(const std::string& text, const std::string& pattern) {
  const std::regex regex(pattern);
  std::vector<absl::Duration> found;
  for (std::sregex_iterator it(text.begin(), text.end(), regex), end; it != end; ++it) {
    found.push_back(Duration((*it)[1]));
  }
  EXPECT_FALSE(found.empty()) << pattern;
  return found;
}

YAML::Node KubernetesObject(const std::string& kind) {
  for (const YAML::Node& object :
       YAML::LoadAll(ReadFile(absl::StrCat(kDocker, "kubernetes/leapstream.yaml")))) {
    if (object["kind"].as<std::string>() == kind) return object;
  }
  ADD_FAILURE() << "no " << kind;
  return {};
}

YAML::Node ComposeService() {
  return YAML::LoadFile(absl::StrCat(kDocker, "compose.yaml"))["services"]["leapstream"];
}

TEST(DeploymentTest, AllYamlAndJsonParses) {
  int files = 0;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(kDocker)) {
    if (entry.path().extension() == ".yaml") {
      EXPECT_NO_THROW(EXPECT_FALSE(YAML::LoadAll(ReadFile(entry.path())).empty())) << entry;
      ++files;
    } else if (entry.path().extension() == ".json") {
      EXPECT_TRUE(nlohmann::json::accept(ReadFile(entry.path()))) << entry;
      ++files;
    }
  }
  EXPECT_GE(files, 9);
}

// The image has one name in all files, with the version that is built.
TEST(DeploymentTest, TheImageHasOneName) {
  const std::string cmake = ReadFile(LEAPSTREAM_SOURCE_DIR "/CMakeLists.txt");
  std::smatch version;
  ASSERT_TRUE(std::regex_search(cmake, version, std::regex("leapstream VERSION (\\d+\\.\\d+\\.\\d+) ")));
  const std::string name = absl::StrCat("leapstream:", version[1].str());
  EXPECT_EQ(ComposeService()["image"].as<std::string>(), name);
  EXPECT_EQ(KubernetesObject("Deployment")["spec"]["template"]["spec"]["containers"][0]["image"]
                .as<std::string>(),
            name);
  const std::string build = absl::StrCat("build -f docker/Dockerfile -t ", name, " .");
  for (const std::string& file :
       {absl::StrCat(kDocker, "Dockerfile"),
        std::string(LEAPSTREAM_SOURCE_DIR "/docs/deployment.md")}) {
    EXPECT_NE(ReadFile(file).find(build), std::string::npos) << file;
  }
  EXPECT_NE(ReadFile(absl::StrCat(kDocker, "Dockerfile"))
                .find(absl::StrCat("image.version=\"", version[1].str(), "\"")),
            std::string::npos);
}

TEST(DeploymentTest, OtherToolsTakeTheFiles) {
  const YAML::Node compose = YAML::LoadFile(absl::StrCat(kDocker, "compose.yaml"));
  EXPECT_FALSE(compose["name"]) << "docker-compose 1.29 refuses it";
  // podman and buildah drop the image's own healthcheck.
  EXPECT_TRUE(ComposeService()["healthcheck"]) << "a condition below is service_healthy";
  // This is for `kubectl apply -f docker/kubernetes`.
  for (const fs::directory_entry& entry :
       fs::recursive_directory_iterator(absl::StrCat(kDocker, "kubernetes"))) {
    for (const YAML::Node& object : YAML::LoadAll(ReadFile(entry.path()))) {
      EXPECT_TRUE(object["apiVersion"] && object["kind"]) << entry;
    }
  }
}

// A server ends all streams of a connection that has larger headers, and these may be several
// clients'.
TEST(DeploymentTest, ProxiesPassFewerHeadersThanServersTake) {
  std::smatch found;
  const std::string envoy = ReadFile(absl::StrCat(kDocker, "envoy/envoy.yaml"));
  ASSERT_TRUE(std::regex_search(envoy, found, std::regex("\n *max_request_headers_kb: (\\d+)\n")));
  EXPECT_LE(2 * (std::stoi(found[1]) << 10), budget::kHeaderBytes);
  EXPECT_NE(envoy.find("\n      connection_pool_per_downstream_connection: true\n"),
            std::string::npos);
  const std::string haproxy = ReadFile(absl::StrCat(kDocker, "haproxy/haproxy.cfg"));
  ASSERT_TRUE(std::regex_search(haproxy, found, std::regex("\n *tune.bufsize (\\d+)\n")));
  EXPECT_LE(2 * std::stoi(found[1]), budget::kHeaderBytes);
  const std::string nginx = ReadFile(absl::StrCat(kDocker, "nginx/nginx.conf"));
  ASSERT_TRUE(std::regex_search(nginx, found,
                                std::regex("\n *large_client_header_buffers (\\d+) (\\d+)k;")));
  EXPECT_LE(2 * std::stoi(found[1]) * (std::stoi(found[2]) << 10), budget::kHeaderBytes);
}

// A proxy that waits for less than some heartbeats cuts streams whose speaker pauses.
TEST(DeploymentTest, ProxiesWaitForSeveralHeartbeats) {
  const absl::Duration least = 3 * SessionLimits().heartbeat_interval;
  const std::string haproxy = ReadFile(absl::StrCat(kDocker, "haproxy/haproxy.cfg"));
  for (const char* side : {"client", "server"}) {
    for (const absl::Duration timeout :
         Durations(haproxy, absl::StrCat("\n *timeout ", side, " (\\S+)"))) {
      EXPECT_GE(timeout, least) << side;
    }
  }
  const std::string envoy = ReadFile(absl::StrCat(kDocker, "envoy/envoy.yaml"));
  for (const absl::Duration timeout : Durations(envoy, "stream_idle_timeout: (\\S+)")) {
    EXPECT_GE(timeout, least);
  }
  const std::string nginx = ReadFile(absl::StrCat(kDocker, "nginx/nginx.conf"));
  for (const absl::Duration timeout : Durations(nginx, "\n *grpc_read_timeout (\\w+);")) {
    EXPECT_GE(timeout, least);
  }
  // The whole stream has no timeout.
  for (const absl::Duration timeout : Durations(envoy, "\n *timeout: (0s)\n")) {
    EXPECT_EQ(timeout, absl::ZeroDuration());
  }
}

ServerConfig ConfigInPod() {
  ServerConfig config;
  const absl::Status read = ApplyYaml(KubernetesObject("ConfigMap")["data"]["server.yaml"].Scalar(),
                                      "server.yaml", &config);
  EXPECT_TRUE(read.ok()) << read;
  return config;
}

// The server's configuration in compose.yaml: its flags over the file of the image.
ServerConfig ConfigInCompose() {
  std::vector<std::string> arguments;
  for (const YAML::Node& argument : ComposeService()["command"]) {
    const auto text = argument.as<std::string>();
    arguments.push_back(text == "/etc/leapstream/server.yaml" ? LEAPSTREAM_SOURCE_DIR
                            "/configs/server.yaml"
                                                              : text);
  }
  std::vector<const char*> argv = {"leapstream-server"};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  const char* const environment[] = {nullptr};
  const auto config = ParseCommandLine(static_cast<int>(argv.size()), argv.data(), environment);
  EXPECT_TRUE(config.ok()) << config.status();
  return config.value_or(ServerConfig());
}

TEST(DeploymentTest, GracePeriodsAddUp) {
  const ServerConfig in_pod = ConfigInPod(), in_compose = ConfigInCompose();
  const YAML::Node pod = KubernetesObject("Deployment")["spec"]["template"]["spec"];
  EXPECT_GT(absl::Seconds(pod["terminationGracePeriodSeconds"].as<int>()),
            in_pod.drain_delay + in_pod.drain_timeout + absl::Seconds(5));
  EXPECT_GT(Duration(ComposeService()["stop_grace_period"].as<std::string>()),
            in_compose.drain_delay + in_compose.drain_timeout + absl::Seconds(5));
}

// A server that drains refuses nobody until those that send it streams have noticed.
TEST(DeploymentTest, DrainsBeginWhenAllChecksHaveFailed) {
  const std::string haproxy = ReadFile(absl::StrCat(kDocker, "haproxy/haproxy.cfg"));
  std::smatch check;
  ASSERT_TRUE(std::regex_search(haproxy, check,
                                std::regex("\n *default-server.* inter (\\w+) fall (\\d+)")));
  EXPECT_GE(ConfigInCompose().drain_delay,
            Duration(check[1]) * std::stoi(check[2]) + absl::Seconds(1));

  const YAML::Node probe =
      KubernetesObject("Deployment")["spec"]["template"]["spec"]["containers"][0]["readinessProbe"];
  EXPECT_GE(
      ConfigInPod().drain_delay,
      absl::Seconds(probe["periodSeconds"].as<int>() * probe["failureThreshold"].as<int>() + 1));
  const std::string envoy = ReadFile(absl::StrCat(kDocker, "envoy/envoy.yaml"));
  ASSERT_TRUE(std::regex_search(
      envoy, check, std::regex("\n *interval: (\\w+)\n[^]*\n *unhealthy_threshold: (\\d+)\n")));
  EXPECT_GE(ConfigInPod().drain_delay, Duration(check[1]) * std::stoi(check[2]) + absl::Seconds(1));
}

int PortOf(const std::string& address) { return std::stoi(address.substr(address.rfind(':') + 1)); }

// Probes, HAProxy's checks and the scraper all use the address in metrics_listen.
TEST(DeploymentTest, ServersAreAskedOnTheirMetricsPort) {
  const ServerConfig in_pod = ConfigInPod(), in_compose = ConfigInCompose();
  const YAML::Node container =
      KubernetesObject("Deployment")["spec"]["template"]["spec"]["containers"][0];
  const std::pair<const char*, const char*> probes[] = {
      {"startupProbe", "/readyz"}, {"readinessProbe", "/readyz"}, {"livenessProbe", "/healthz"}};
  for (const auto& [probe, path] : probes) {
    const YAML::Node get = container[probe]["httpGet"];
    EXPECT_EQ(get["path"].as<std::string>(), path) << probe;
    EXPECT_EQ(get["port"].as<std::string>(), "metrics") << probe;
  }
  for (const YAML::Node& port : container["ports"]) {
    const std::string& address = port["name"].as<std::string>() == "metrics"
                                     ? in_pod.server.metrics_listen
                                     : in_pod.server.listen;
    EXPECT_EQ(port["containerPort"].as<int>(), PortOf(address));
  }
  const int port = PortOf(in_compose.server.metrics_listen);
  EXPECT_THAT(ReadFile(absl::StrCat(kDocker, "haproxy/haproxy.cfg")),
              testing::HasSubstr(absl::StrCat(" check port ", port, " ")));
  EXPECT_THAT(ReadFile(absl::StrCat(kDocker, "prometheus/prometheus.yaml")),
              testing::HasSubstr(absl::StrCat("port: ", port, ",")));
}

TEST(DeploymentTest, ContainersHaveNoPrivileges) {
  const YAML::Node pod = KubernetesObject("Deployment")["spec"]["template"]["spec"];
  EXPECT_TRUE(pod["securityContext"]["runAsNonRoot"].as<bool>());
  const YAML::Node container = pod["containers"][0]["securityContext"];
  EXPECT_TRUE(container["readOnlyRootFilesystem"].as<bool>());
  EXPECT_FALSE(container["allowPrivilegeEscalation"].as<bool>());
  EXPECT_EQ(container["capabilities"]["drop"][0].as<std::string>(), "ALL");
  const YAML::Node service =
      YAML::LoadFile(absl::StrCat(kDocker, "compose.yaml"))["services"]["leapstream"];
  EXPECT_TRUE(service["read_only"].as<bool>());
  EXPECT_EQ(service["cap_drop"][0].as<std::string>(), "ALL");
  const std::string dockerfile = ReadFile(absl::StrCat(kDocker, "Dockerfile"));
  EXPECT_THAT(dockerfile, testing::HasSubstr("\nUSER 10001:10001\n"));
  EXPECT_EQ(pod["securityContext"]["runAsUser"].as<int>(), 10001);
}

// Every metric in a query of the dashboard, the alerts and the adapter.
std::set<std::string> MetricsAskedFor() {
  std::set<std::string> names;
  for (const char* file : {"grafana/dashboards/leapstream.json", "prometheus/alerts.yaml",
                           "prometheus/kubernetes-adapter.yaml"}) {
    const std::string text = ReadFile(absl::StrCat(kDocker, file));
    const std::regex name("\\bleapstream_[a-z_]+[a-z]\\b");
    for (std::sregex_iterator it(text.begin(), text.end(), name), end; it != end; ++it) {
      names.insert(it->str());
    }
  }
  names.erase("leapstream_slot_use");  // The adapter makes this one.
  return names;
}

TEST(DeploymentTest, DashboardAndAlertsKnowTheServersMetrics) {
  const std::set<std::string> histograms = {"leapstream_time_to_first_token_seconds",
                                            "leapstream_token_latency_seconds",
                                            "leapstream_step_seconds",
                                            "leapstream_step_batch_size",
                                            "leapstream_average_lagging",
                                            "leapstream_laal"};
  std::set<std::string> known = {"leapstream_sessions_active",
                                 "leapstream_sessions_started_total",
                                 "leapstream_sessions_finished_total",
                                 "leapstream_sessions_rejected_total",
                                 "leapstream_slots",
                                 "leapstream_source_tokens_total",
                                 "leapstream_target_tokens_total",
                                 "leapstream_backpressure_seconds_total",
                                 "leapstream_state_bytes",
                                 "leapstream_model_info",
                                 "leapstream_draining",
                                 "leapstream_usage_source_characters_total",
                                 "leapstream_usage_audio_seconds_total",
                                 "leapstream_usage_target_tokens_total",
                                 "leapstream_usage_generated_tokens_total"};
  for (const std::string& histogram : histograms) {
    for (const char* part : {"_bucket", "_sum", "_count"}) known.insert(histogram + part);
  }
  const std::set<std::string> asked = MetricsAskedFor();
  EXPECT_GE(asked.size(), 15u);
  for (const std::string& name : asked) EXPECT_TRUE(known.count(name) > 0) << name;
}

}  // namespace
}  // namespace leapstream
