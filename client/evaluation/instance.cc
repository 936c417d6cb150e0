#include "client/evaluation/instance.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "metrics/chrf.h"
#include "nlohmann/json.hpp"

namespace leapstream::client {
namespace {

using Named = std::pair<const char*, double>;

std::vector<Named> Columns(const metrics::Lagging& lagging) {
  return {{"LAAL", lagging.laal},
          {"AL", lagging.al},
          {"AP", lagging.ap},
          {"DAL", lagging.dal},
          {"ATD", lagging.atd},
          {"YAAL", lagging.yaal.value_or(std::nan(""))},
          {"StartOffset", lagging.start_offset},
          {"EndOffset", lagging.end_offset}};
}

std::vector<std::pair<std::string, double>> ChosenColumns(const Scores& scores,
                                                          absl::Span<const std::string> metrics) {
  const auto chosen = [&](const char* name) {
    return metrics.empty() || absl::c_linear_search(metrics, name);
  };
  std::vector<std::pair<std::string, double>> all;
  for (const auto& [name, value] : {Named("BLEU", scores.bleu.score), Named("chrF", scores.chrf)}) {
    if (chosen(name)) all.emplace_back(name, value);
  }
  const std::pair<const char*, const metrics::Lagging*> groups[] = {
      {"", &scores.words},
      {"_CA", &scores.words_aware},
      {"_pieces", &scores.pieces},
      {"_pieces_CA", &scores.pieces_aware}};
  for (const auto& [suffix, lagging] : groups) {
    for (const auto& [name, value] : Columns(*lagging)) {
      if (chosen(name)) all.emplace_back(absl::StrCat(name, suffix), value);
    }
  }
  if (!metrics.empty()) return all;
  for (const auto& [name, value] : {Named("steps", scores.steps),
                                    Named("decoder_rows", scores.decoder_rows),
                                    Named("encoder_rows", scores.encoder_rows)}) {
    all.emplace_back(name, value);
  }
  return all;
}

}  // namespace

std::string ToSimulEvalLog(const Instance& instance) {
  nlohmann::ordered_json json = {
      {"index", instance.index},
      {"prediction", instance.prediction},
      {"delays", std::vector<int64_t>(instance.words.delays.begin(), instance.words.delays.end())},
      {"elapsed", instance.words.elapsed},
      {"prediction_length", instance.words.delays.size()},
      {"reference", instance.reference},
      {"source", instance.source},
      {"source_length", static_cast<int64_t>(instance.words.source_length)}};
  if (instance.speech) {  // SimulEval gives lines about the file, the path first.
    json["delays"] = instance.words.delays;
    json["source"] = {instance.source};
    json["source_length"] = instance.words.source_length;
  }
  if (!instance.prediction_pieces.empty()) json["prediction_spm"] = instance.prediction_pieces;
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Scores Score(absl::Span<const Instance> instances, metrics::BleuTokenizer tokenizer) {
  std::vector<std::string> predictions, references;
  std::vector<metrics::SegmentTiming> words, pieces;
  double tokens = 0;
  Scores scores;
  for (const Instance& instance : instances) {
    tokens += static_cast<double>(instance.target_tokens);
    scores.steps += static_cast<double>(instance.decoder_steps);
    scores.decoder_rows += static_cast<double>(instance.decoder_rows);
    scores.encoder_rows += static_cast<double>(instance.encoder_rows);
    predictions.push_back(instance.prediction);
    references.push_back(instance.reference);
    words.push_back(instance.words);
    pieces.push_back(instance.pieces);
  }
  const bool counted = scores.decoder_rows > 0 && tokens > 0;
  for (double* cost : {&scores.steps, &scores.decoder_rows, &scores.encoder_rows}) {
    *cost = counted ? *cost / tokens : std::nan("");
  }
  scores.bleu = metrics::Bleu(predictions, references, tokenizer);
  scores.chrf = metrics::Chrf(predictions, references);
  scores.words = metrics::MeanLagging(words, /*computation_aware=*/false);
  scores.words_aware = metrics::MeanLagging(words, /*computation_aware=*/true);
  scores.pieces = metrics::MeanLagging(pieces, /*computation_aware=*/false);
  scores.pieces_aware = metrics::MeanLagging(pieces, /*computation_aware=*/true);
  return scores;
}

const std::vector<std::string>& QualityMetrics() {
  static const auto* const names = new std::vector<std::string>{"BLEU", "chrF"};
  return *names;
}

const std::vector<std::string>& LatencyMetrics() {
  static const auto* const names = [] {
    auto* const all = new std::vector<std::string>();
    for (const Named& column : Columns(metrics::Lagging())) all->emplace_back(column.first);
    return all;
  }();
  return *names;
}

std::vector<std::string> ScoreNames(absl::Span<const std::string> metrics) {
  std::vector<std::string> names;
  for (const auto& column : ChosenColumns(Scores(), metrics)) names.push_back(column.first);
  return names;
}

std::vector<std::string> ScoreValues(const Scores& scores, absl::Span<const std::string> metrics) {
  std::vector<std::string> values;
  for (const auto& column : ChosenColumns(scores, metrics)) {
    values.push_back(std::isnan(column.second) ? "nan" : absl::StrFormat("%.3f", column.second));
  }
  return values;
}

}  // namespace leapstream::client
