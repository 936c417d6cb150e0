#include "server/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/summary.h>
#include <spdlog/spdlog.h>

#include <string>
#include <variant>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/budget.h"
#include "base/quoted.h"
#include "server/status_mapping.h"

namespace leapstream {
namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::Histogram;
using Buckets = Histogram::BucketBoundaries;

const Buckets kCallSeconds = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,  1,    2.5,
                              5,     10,   30,    60,   300, 900,  3600, 14400};
const Buckets kTokenSeconds = {0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05,
                               0.1,    0.2,   0.5,   1,     2,    5,    10};
const Buckets kStepSeconds = {0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2};
const Buckets kBatch = {1, 2, 4, 8, 16, 32, 64, 128, 256};
const Buckets kTokens = {1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24, 32, 64};

constexpr size_t kLabelBytes = 100;

constexpr char kService[] = "leapstream.v1.SimultaneousTranslationService";
constexpr char kLanguageModelService[] = "leapstream.v1.LanguageModelService";

// Clients choose the numbers of a policy, and each value of the label is a series of its own. So
// large numbers share a label.
std::string NumberLabel(int number) {
  if (number <= 16) return absl::StrCat(number);
  return number <= 32 ? "17-32" : "33+";
}

struct PolicyLabeller {
  std::string operator()(const WaitK& policy) const {
    return absl::StrCat(NumberLabel(policy.k), policy.count_words ? " words" : "");
  }
  std::string operator()(const HoldN& policy) const {
    return absl::StrCat("hold=", NumberLabel(policy.n));
  }
  std::string operator()(const AlignAtt& policy) const {
    return absl::StrCat("alignatt=", NumberLabel(policy.frames));
  }
  std::string operator()(const AdaptiveWaitK& policy) const {
    return policy.max_k <= 16 ? policy.Name() : "adaptive=17+";
  }
  template <typename Other>
  std::string operator()(const Other& policy) const {
    return policy.Name();
  }
};

std::string PolicyLabel(const Policy& policy) { return std::visit(PolicyLabeller(), policy); }

// The code's name as the gRPC metrics write it, such as "InvalidArgument".
std::string CodeLabel(absl::StatusCode code) {
  if (code == absl::StatusCode::kOk) return "OK";
  const std::string name = absl::StatusCodeToString(code);  // "INVALID_ARGUMENT".
  std::string label;
  bool upper = true;
  for (const char c : name) {
    if (c != '_') label.push_back(upper ? c : absl::ascii_tolower(static_cast<unsigned char>(c)));
    upper = c == '_';
  }
  return label;
}

}  // namespace

struct Metrics::Families {
  explicit Families(prometheus::Registry* registry) : registry(registry) {}
  Family<Counter>& AddCounter(const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(*registry);
  }
  Family<Histogram>& AddHistogram(const char* name, const char* help) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(*registry);
  }

  prometheus::Registry* const registry;
  Family<Counter>& started =
      AddCounter("leapstream_sessions_started_total", "Sessions that began on this server.");
  Family<Counter>& languages =
      AddCounter("leapstream_sessions_languages_total",
                 "Sessions and calls of Translate that began, by the language of each side.");
  Family<Counter>& finished = AddCounter("leapstream_sessions_finished_total",
                                         "Admitted streams that ended, by the code of their status "
                                         "and its reason.");
  Family<Counter>& rejected = AddCounter("leapstream_sessions_rejected_total",
                                         "Calls that were refused before they began, by reason.");
  Family<Counter>& source_tokens =
      AddCounter("leapstream_source_tokens_total", "Source tokens that were read, </s> included.");
  Family<Counter>& target_tokens =
      AddCounter("leapstream_target_tokens_total", "Target tokens that were put out.");
  Family<Counter>& segments_cut =
      AddCounter("leapstream_segments_cut_total",
                 "Segments whose translation ended before it was complete, by reason.");
  Family<Counter>& untranslated =
      AddCounter("leapstream_source_tokens_untranslated_total",
                 "Source tokens that were read after their segment's translation had ended.");
  Family<Counter>& dropped = AddCounter("leapstream_source_dropped_bytes_total",
                                        "Source that was dropped without being read.");
  Family<Histogram>& first_token =
      AddHistogram("leapstream_time_to_first_token_seconds",
                   "From a segment's first source to its first target token.");
  Family<Histogram>& token_latency =
      AddHistogram("leapstream_token_latency_seconds",
                   "From when a session could write a token to when it was put out.");
  Family<Histogram>& step_duration =
      AddHistogram("leapstream_step_seconds", "Of one turn of the step loop in the model.");
  Family<Histogram>& step_batch = AddHistogram(
      "leapstream_step_batch_size", "Rows of one turn: source tokens read, sessions that decide.");
  Family<Histogram>& average_lagging =
      AddHistogram("leapstream_average_lagging",
                   "Average lagging of a segment (Ma et al. 2019), in source tokens.");
  Family<Histogram>& length_adaptive =
      AddHistogram("leapstream_laal", "LAAL of a segment (Papi et al. 2022), in source tokens.");
  Family<prometheus::Summary>& lagging =
      prometheus::BuildSummary()
          .Name("leapstream_lagging")
          .Help("All lagging figures of segments, in source tokens or words, of speech in ms.")
          .Register(*registry);
  Family<Counter>& backpressure = AddCounter(
      "leapstream_backpressure_seconds_total",
      "Time in which a client was not read from (input) or a session not decoded for (output).");
  Family<Counter>& reloads =
      AddCounter("leapstream_model_reloads_total", "Reloads of a model, by result.");
  Family<Counter>& used_characters =
      AddCounter("leapstream_usage_source_characters_total",
                 "Characters of source and prompts that a principal has sent.");
  Family<Counter>& used_audio = AddCounter("leapstream_usage_audio_seconds_total",
                                           "Audio that a principal has sent.");
  Family<Counter>& used_target_tokens =
      AddCounter("leapstream_usage_target_tokens_total",
                 "Target tokens of translations that were written for a principal.");
  Family<Counter>& used_prompt_tokens =
      AddCounter("leapstream_usage_prompt_tokens_total",
                 "Tokens of prompts and scored texts that were read for a principal.");
  Family<Counter>& used_generated_tokens =
      AddCounter("leapstream_usage_generated_tokens_total",
                 "Tokens that were generated for a principal.");
  Family<Counter>& used_requests =
      AddCounter("leapstream_usage_requests_total",
                 "Sessions and calls of a principal that began, by method.");
  Family<Counter>& rpc_started = AddCounter("grpc_server_started_total", "RPCs that started.");
  Family<Counter>& rpc_handled =
      AddCounter("grpc_server_handled_total", "RPCs that completed, by code.");
  Family<Counter>& rpc_received =
      AddCounter("grpc_server_msg_received_total", "Messages that were received.");
  Family<Counter>& rpc_sent = AddCounter("grpc_server_msg_sent_total", "Messages that were sent.");
  Family<Histogram>& rpc_seconds =
      AddHistogram("grpc_server_handling_seconds", "From the start of an RPC to its end.");
};

namespace {

prometheus::Labels MethodLabels(Method method) {
  switch (method) {
    case Method::kStreamTranslate:
      return {{"grpc_type", "bidi_stream"},
              {"grpc_service", kService},
              {"grpc_method", "StreamTranslate"}};
    case Method::kTranslate:
      return {{"grpc_type", "unary"}, {"grpc_service", kService}, {"grpc_method", "Translate"}};
    case Method::kListModels:
      return {{"grpc_type", "unary"}, {"grpc_service", kService}, {"grpc_method", "ListModels"}};
    case Method::kGenerate:
      return {{"grpc_type", "server_stream"},
              {"grpc_service", kLanguageModelService},
              {"grpc_method", "Generate"}};
    case Method::kScore:
      return {{"grpc_type", "unary"},
              {"grpc_service", kLanguageModelService},
              {"grpc_method", "Score"}};
    case Method::kTokenize:
      return {{"grpc_type", "unary"},
              {"grpc_service", kLanguageModelService},
              {"grpc_method", "Tokenize"}};
  }
  return {};
}

}  // namespace

void ModelMetrics::OnStep(const StepFigures& step) {
  step_duration_->Observe(absl::ToDoubleSeconds(step.compute));
  if (step.source_tokens > 0) {
    source_tokens_->Increment(step.source_tokens);
    read_batch_->Observe(step.source_tokens);
  }
  if (step.sessions_deciding > 0) write_batch_->Observe(step.sessions_deciding);
}

void ModelMetrics::OnNoMemory(absl::string_view why, int sessions) {
  const int64_t all = without_memory_ += sessions;
  if (!no_memory_lines_.Passes(SteadyNow())) return;
  spdlog::warn(
      "model {}: a step found no memory ({}), so its sessions end with UNAVAILABLE; {} so far. "
      "Lower max_state_bytes or max_sessions",
      model_, std::string(why), all);
}

void ModelMetrics::OnToken(absl::Duration latency) {
  target_tokens_->Increment();
  token_latency_->Observe(absl::ToDoubleSeconds(latency));
}

void ModelMetrics::OnFirstToken(absl::Duration since_source) {
  first_token_->Observe(absl::ToDoubleSeconds(since_source));
}

void LaggingMetrics::Observe(const SegmentStats& stats) const {
  if (average_lagging == nullptr || stats.target_tokens == 0) return;
  const bool speech = stats.computation_aware.has_value();
  if (!speech) {  // The buckets are in tokens.
    average_lagging->Observe(stats.lagging.al);
    length_adaptive->Observe(stats.lagging.laal);
  }
  const auto observe = [&](const char* per, const char* aware,
                           const std::optional<metrics::Lagging>& lagging) {
    if (!lagging.has_value()) return;
    all->ObserveLagging({{"model", model}, {"k", k}, {"per", per}, {"computation_aware", aware}},
                        *lagging);
  };
  observe("token", "false", stats.lagging);
  observe("word", "false", stats.words);
  observe("token", "true", stats.computation_aware);
  observe("word", "true", stats.words_computation_aware);
}

Metrics::Metrics() : families_(std::make_unique<Families>(&registry_)) {
  Families& f = *families_;
  for (const Method method : {Method::kStreamTranslate, Method::kTranslate, Method::kListModels,
                              Method::kGenerate, Method::kScore, Method::kTokenize}) {
    const prometheus::Labels labels = MethodLabels(method);
    methods_[method] = {&f.rpc_started.Add(labels), &f.rpc_received.Add(labels),
                        &f.rpc_sent.Add(labels), &f.rpc_seconds.Add(labels, kCallSeconds)};
    prometheus::Labels ok = labels;
    ok["grpc_code"] = "OK";
    f.rpc_handled.Add(ok);
  }
  // These counters exist from the start, so that a rate over them sees the first event.
  for (const char* reason : {"SERVER_FULL", "DRAINING"}) f.rejected.Add({{"reason", reason}});
  input_held_ = &f.backpressure.Add({{"direction", "input"}});
  output_held_ = &f.backpressure.Add({{"direction", "output"}});
}
Metrics::~Metrics() = default;

ModelMetrics* Metrics::ForModel(const std::string& model) {
  MutexLock lock(&mutex_);
  std::unique_ptr<ModelMetrics>& metrics = models_[model];
  if (metrics == nullptr) {
    const prometheus::Labels labels = {{"model", model}};
    metrics = std::make_unique<ModelMetrics>();
    metrics->model_ = model;
    Families& f = *families_;
    metrics->source_tokens_ = &f.source_tokens.Add(labels);
    metrics->target_tokens_ = &f.target_tokens.Add(labels);
    metrics->first_token_ = &f.first_token.Add(labels, kTokenSeconds);
    metrics->token_latency_ = &f.token_latency.Add(labels, kTokenSeconds);
    metrics->step_duration_ = &f.step_duration.Add(labels, kStepSeconds);
    metrics->read_batch_ = &f.step_batch.Add({{"model", model}, {"kind", "read"}}, kBatch);
    metrics->write_batch_ = &f.step_batch.Add({{"model", model}, {"kind", "write"}}, kBatch);
    f.started.Add({{"model", model}, {"resumed", "false"}});
    for (const char* cut : {"max_length", "source_limit", "early_end"}) {
      f.segments_cut.Add({{"model", model}, {"reason", cut}});
    }
    f.untranslated.Add(labels);
    f.dropped.Add(labels);
    f.finished.Add({{"model", model}, {"outcome", "OK"}, {"reason", ""}});
  }
  return metrics.get();
}

const UsageMetrics* Metrics::ForPrincipal(const std::string& principal) {
  std::string label = principal.empty() ? "anonymous" : OneLine(principal, kLabelBytes);
  MutexLock lock(&mutex_);
  if (principals_.size() >= budget::kPrincipalsInMetrics && principals_.count(label) == 0) {
    label = "other";
  }
  std::unique_ptr<UsageMetrics>& metrics = principals_[label];
  if (metrics == nullptr) {
    const prometheus::Labels labels = {{"principal", label}};
    metrics = std::make_unique<UsageMetrics>();
    Families& f = *families_;
    metrics->source_characters = &f.used_characters.Add(labels);
    metrics->audio_seconds = &f.used_audio.Add(labels);
    metrics->target_tokens = &f.used_target_tokens.Add(labels);
    metrics->prompt_tokens = &f.used_prompt_tokens.Add(labels);
    metrics->generated_tokens = &f.used_generated_tokens.Add(labels);
    for (const Method method :
         {Method::kStreamTranslate, Method::kTranslate, Method::kGenerate, Method::kScore}) {
      metrics->requests[method] = &f.used_requests.Add(
          {{"principal", label}, {"method", MethodLabels(method).at("grpc_method")}});
    }
  }
  return metrics.get();
}

LaggingMetrics Metrics::ForLagging(const std::string& model, const Policy& policy) {
  const prometheus::Labels labels = {{"model", model}, {"k", PolicyLabel(policy)}};
  return {&families_->average_lagging.Add(labels, kTokens),
          &families_->length_adaptive.Add(labels, kTokens), this, model, labels.at("k")};
}

void Metrics::ObserveLagging(const prometheus::Labels& labels, const metrics::Lagging& lagging) {
  const auto observe = [&](const char* figure, double value) {
    prometheus::Labels all = labels;
    all["figure"] = figure;
    // There are no quantiles here: the histograms give those of single segments.
    families_->lagging.Add(all, prometheus::Summary::Quantiles()).Observe(value);
  };
  observe("AL", lagging.al);
  observe("LAAL", lagging.laal);
  observe("AP", lagging.ap);
  observe("DAL", lagging.dal);
  observe("ATD", lagging.atd);
  observe("StartOffset", lagging.start_offset);
  observe("EndOffset", lagging.end_offset);
  if (lagging.yaal.has_value()) observe("YAAL", *lagging.yaal);
}

void Metrics::SessionStarted(const std::string& model, bool resumed) {
  families_->started.Add({{"model", model}, {"resumed", resumed ? "true" : "false"}}).Increment();
}

void Metrics::LanguagesChosen(const std::string& model, const LanguagePair& pair) {
  // The pairs of a model of many languages would be too many series.
  for (const auto& [side, code] : {std::pair("source", &pair.source), {"target", &pair.target}}) {
    families_->languages.Add({{"model", model}, {"side", side}, {"language", *code}}).Increment();
  }
}

void Metrics::SessionFinished(const std::string& model, const absl::Status& status) {
  families_->finished
      .Add({{"model", model},
            {"outcome", CodeLabel(status.code())},
            {"reason", std::string(ReasonOf(status))}})
      .Increment();
}

void Metrics::SegmentCompleted(const std::string& model, const char* cut,
                               int untranslated_source_tokens) {
  if (cut != nullptr) {
    families_->segments_cut.Add({{"model", model}, {"reason", cut}}).Increment();
  }
  if (untranslated_source_tokens == 0) return;
  families_->untranslated.Add({{"model", model}}).Increment(untranslated_source_tokens);
}

void Metrics::SourceDropped(const std::string& model, int64_t bytes) {
  families_->dropped.Add({{"model", model}}).Increment(static_cast<double>(bytes));
}

void Metrics::SessionRejected(absl::string_view reason) {
  families_->rejected.Add({{"reason", std::string(reason)}}).Increment();
}

void Metrics::InputHeld(absl::Duration time) {
  input_held_->Increment(absl::ToDoubleSeconds(time));
}

void Metrics::OutputHeld(absl::Duration time) {
  output_held_->Increment(absl::ToDoubleSeconds(time));
}

void Metrics::ModelReloaded(const std::string& model, bool ok) {
  families_->reloads.Add({{"model", model}, {"result", ok ? "ok" : "failed"}}).Increment();
}

CallMetrics::CallMetrics(Metrics* metrics, Method method)
    : metrics_(metrics),
      method_(method),
      counters_(metrics->methods_.at(method)),
      started_(SteadyNow()) {
  counters_.started->Increment();
}

void CallMetrics::Received() { counters_.received->Increment(); }
void CallMetrics::Sent() { counters_.sent->Increment(); }

void CallMetrics::Handled(absl::StatusCode code) {
  prometheus::Labels labels = MethodLabels(method_);
  labels["grpc_code"] = CodeLabel(code);
  metrics_->families_->rpc_handled.Add(labels).Increment();
  counters_.seconds->Observe(absl::ToDoubleSeconds(SteadyNow() - started_));
}

}  // namespace leapstream
