#include "server/state_metrics.h"

#include <prometheus/text_serializer.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <initializer_list>
#include <sstream>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "server/descriptors.h"
#include "server/logging.h"

namespace leapstream {
namespace {

using Labels = std::vector<prometheus::ClientMetric::Label>;

prometheus::MetricFamily Gauges(const char* name, const char* help) {
  prometheus::MetricFamily family;
  family.name = name;
  family.help = help;
  family.type = prometheus::MetricType::Gauge;
  return family;
}

void Add(double value, Labels labels, prometheus::MetricFamily* family) {
  prometheus::ClientMetric metric;
  metric.label = std::move(labels);
  metric.gauge.value = value;
  family->metric.push_back(std::move(metric));
}

prometheus::MetricFamily Gauge(const char* name, const char* help, double value) {
  prometheus::MetricFamily family = Gauges(name, help);
  Add(value, {}, &family);
  return family;
}

prometheus::MetricFamily Counter(const char* name, const char* help, double value) {
  prometheus::MetricFamily family;
  family.name = name;
  family.help = help;
  family.type = prometheus::MetricType::Counter;
  family.metric.emplace_back();
  family.metric.back().counter.value = value;
  return family;
}

std::string ReadFile(const char* path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();  // An istreambuf_iterator would throw if reading failed.
  return text.str();
}

// Adds the standard process_* metrics, as Prometheus' own clients compute them.
void AddProcess(std::vector<prometheus::MetricFamily>* families) {
  // These are the fields after the program's name, which may itself have spaces. The first of them
  // has the number 3.
  const std::string stat = ReadFile("/proc/self/stat");
  const std::vector<std::string> fields =
      absl::StrSplit(stat.substr(std::min(stat.size(), stat.rfind(')') + 2)), ' ');
  const auto field = [&fields](size_t number) {
    double value = 0;
    return number - 3 < fields.size() && absl::SimpleAtod(fields[number - 3], &value) ? value : 0;
  };
  double boot_time = 0;
  for (absl::string_view line : absl::StrSplit(ReadFile("/proc/stat"), '\n')) {
    if (absl::ConsumePrefix(&line, "btime ") && !absl::SimpleAtod(line, &boot_time)) boot_time = 0;
  }
  const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  families->push_back(Counter("process_cpu_seconds_total",
                              "Total user and system CPU time spent in seconds.",
                              (field(14) + field(15)) / ticks));
  families->push_back(Gauge("process_start_time_seconds",
                            "Start time of the process since unix epoch in seconds.",
                            boot_time + field(22) / ticks));
  families->push_back(Gauge("process_threads", "Number of OS threads.", field(20)));
  families->push_back(
      Gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", field(23)));
  families->push_back(Gauge("process_resident_memory_bytes", "Resident memory size in bytes.",
                            field(24) * static_cast<double>(sysconf(_SC_PAGESIZE))));
  families->push_back(
      Gauge("process_open_fds", "Number of open file descriptors.", OpenDescriptors()));
  families->push_back(Gauge("process_max_fds", "Maximum number of open file descriptors.",
                            static_cast<double>(limit.rlim_cur)));
}

}  // namespace

std::vector<prometheus::MetricFamily> CollectState(const Serving& serving) {
  std::vector<prometheus::MetricFamily> families;
  prometheus::MetricFamily active = Gauges("leapstream_sessions_active", "Sessions that are open.");
  prometheus::MetricFamily bytes =
      Gauges("leapstream_state_bytes", "Memory of the open sessions' model states.");
  prometheus::MetricFamily age = Gauges("leapstream_step_loop_turn_age_seconds",
                                        "How long the step loop's present turn has taken so far.");
  prometheus::MetricFamily info =
      Gauges("leapstream_model_info", "1 for each model that new sessions get.");
  for (const ServedModels::State& model : serving.models->States()) {
    const Labels labels = {{"model", model.info.name}};
    Add(model.sessions, labels, &active);
    Add(static_cast<double>(model.state_bytes), labels, &bytes);
    Add(absl::ToDoubleSeconds(model.turn_age), labels, &age);
    Add(1,
        {{"model", model.info.name},
         {"checksum", model.info.checksum},
         {"compute_type", model.info.compute_type},
         {"state_type", model.info.state_type},
         {"source_language", model.info.source_language},
         {"target_language", model.info.target_language}},
        &info);
  }
  families.push_back(std::move(active));
  families.push_back(std::move(bytes));
  families.push_back(std::move(age));
  families.push_back(std::move(info));
  families.push_back(Gauge("leapstream_state_bytes_limit",
                           "Memory that the states of all sessions may have together.",
                           static_cast<double>(serving.models->max_state_bytes())));
  families.push_back(Gauge("leapstream_slots", "Sessions that there may be at once.",
                           serving.admission.max_sessions()));
  families.push_back(
      Gauge("leapstream_slots_used", "Permits that are taken.", serving.admission.taken()));
  if (serving.http_connections != nullptr) {
    families.push_back(Gauge("leapstream_http_connections", "Connections to the port for HTTP.",
                             serving.http_connections()));
  }
  families.push_back(Gauge("leapstream_draining", "1 once the server drains, else 0.",
                           serving.admission.draining() ? 1 : 0));
  families.push_back(Counter("leapstream_log_lines_dropped_total",
                             "Lines of the log that nobody read in time.",
                             static_cast<double>(DroppedLogLines())));
  AddProcess(&families);
  return families;
}

std::string MetricsPage(const Serving& serving) {
  std::vector<prometheus::MetricFamily> families = serving.metrics->registry().Collect();
  std::vector<prometheus::MetricFamily> state = CollectState(serving);
  families.insert(families.end(), std::make_move_iterator(state.begin()),
                  std::make_move_iterator(state.end()));
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace leapstream
