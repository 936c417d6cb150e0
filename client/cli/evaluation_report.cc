#include "client/cli/evaluation_report.h"

#include <algorithm>
#include <cstddef>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "client/evaluation/chart.h"

namespace leapstream::client {
namespace {

constexpr int kBarColumns = 30;
constexpr int kLeastBarColumns = 5;

// A policy's text in two parts: what makes it a curve, and what makes it a point there.
struct PlacedPolicy {
  std::string curve, label;
};

PlacedPolicy PlaceOf(const Policy& policy) {
  const std::vector<std::string> parts = absl::StrSplit(ToText(policy), '+');
  const std::vector<std::string> rule = absl::StrSplit(parts[0], absl::MaxSplits(':', 1));
  PlacedPolicy place{rule[0], rule.size() > 1 ? rule[1] : ""};
  if (rule[0] == "wait-k") place.label = absl::StrCat("k=", place.label);
  for (size_t i = 1; i < parts.size(); ++i) {
    const bool is_chunk = absl::StartsWith(parts[i], "read-");
    absl::StrAppend(is_chunk ? &place.label : &place.curve, "+", parts[i]);
  }
  return place;
}

Chart ChartOf(absl::Span<const PolicyScores> rows, const std::string& x_label,
              const std::string& y_label, double (*x)(const Scores&), double (*y)(const Scores&)) {
  Chart chart{x_label, y_label, {}};
  for (const PolicyScores& row : rows) {
    const PlacedPolicy place = PlaceOf(row.policy);
    auto curve = absl::c_find_if(chart.curves,
                                 [&](const Curve& each) { return each.name == place.curve; });
    if (curve == chart.curves.end()) {
      curve = chart.curves.insert(curve, {place.curve, {}});
    }
    curve->points.push_back({x(row.scores), y(row.scores), place.label});
  }
  return chart;
}

}  // namespace

std::string FolderName(const Policy& policy) {
  std::string text = ToText(policy);
  if (absl::StartsWith(text, "wait-k")) text = text.substr(5);  // "k:3"
  const size_t colon = text.find(':');
  if (colon != std::string::npos) text.erase(colon, 1);
  return absl::StrReplaceAll(text, {{":", "-"}, {"=", "-"}});
}

std::string ScoresTsv(absl::Span<const PolicyScores> rows, size_t sentences,
                      const std::vector<std::string>& metrics) {
  std::string tsv =
      absl::StrCat("policy\t", absl::StrJoin(ScoreNames(metrics), "\t"), "\tsentences\tseconds\n");
  for (const PolicyScores& row : rows) {
    absl::StrAppend(&tsv, ToText(row.policy), "\t",
                    absl::StrJoin(ScoreValues(row.scores, metrics), "\t"), "\t", sentences, "\t",
                    absl::StrFormat("%.2f", row.seconds), "\n");
  }
  return tsv;
}

std::string ScoresTable(absl::Span<const PolicyScores> rows,
                        const std::vector<std::string>& metrics) {
  const std::vector<std::string> names = ScoreNames(metrics);
  std::vector<size_t> columns;
  for (const char* name : {"BLEU", "chrF", "AL", "LAAL", "AL_CA", "LAAL_CA", "steps",
                           "decoder_rows", "encoder_rows"}) {
    const auto column = absl::c_find(names, name);
    if (column != names.end()) columns.push_back(static_cast<size_t>(column - names.begin()));
  }
  std::string head = "| policy |", line = "| --- |", body;
  for (const size_t column : columns) {
    absl::StrAppend(&head, " ", names[column], " |");
    absl::StrAppend(&line, " --- |");
  }
  for (const PolicyScores& row : rows) {
    const std::vector<std::string> values = ScoreValues(row.scores, metrics);
    absl::StrAppend(&body, "| `", ToText(row.policy), "` |");
    for (const size_t column : columns) absl::StrAppend(&body, " ", values[column], " |");
    absl::StrAppend(&body, absl::StrFormat(" %.1f |\n", row.seconds));
  }
  return absl::StrCat(head, " s |\n", line, " --- |\n", body);
}

std::string ScoresPicture(absl::Span<const PolicyScores> rows, const std::string& source_name,
                          bool speech) {
  const std::string unit = speech ? " (ms)" : " (source words)";
  std::vector<std::vector<Chart>> charts;
  const auto add = [&](const char* quality, double (*y)(const Scores&)) {
    charts.push_back(
        {ChartOf(
             rows, "AL" + unit, quality, [](const Scores& s) { return s.words.al; }, y),
         ChartOf(
             rows, "LAAL" + unit, quality, [](const Scores& s) { return s.words.laal; }, y),
         ChartOf(
             rows, "LAAL with computation" + unit, quality,
             [](const Scores& s) { return s.words_aware.laal; }, y)});
  };
  add("BLEU", [](const Scores& s) { return s.bleu.score; });
  add("chrF", [](const Scores& s) { return s.chrf; });
  return ChartsSvg("Quality over lagging: " + source_name, charts);
}

std::string ProgressText(absl::string_view name, int done, int total, double seconds_left,
                         int columns) {
  const std::string counts = absl::StrFormat("%d/%d sentences, %.0f s left", done, total,
                                             seconds_left);
  // A line that fills the last column would begin another one.
  const int room = columns - 1 - static_cast<int>(counts.size());
  const int bar = std::min(kBarColumns, room - static_cast<int>(name.size()) - 4);
  if (bar >= kLeastBarColumns) {
    const auto filled = static_cast<size_t>(bar * done / total);
    return absl::StrCat(name, " [", std::string(filled, '#'),
                        std::string(static_cast<size_t>(bar) - filled, '.'), "] ", counts);
  }
  if (room > static_cast<int>(name.size())) return absl::StrCat(name, " ", counts);
  return counts.substr(0, static_cast<size_t>(std::max(columns - 1, 1)));
}

}  // namespace leapstream::client
