// Translates whole sentences, greedily, as compare.py --offline wants it: each sentence has as many
// source tokens as the case says, and gets as many target tokens. All sentences of a case are one
// batch on one thread. Usage: offline_bench SHAPE DIRECTORY COMPUTE_TYPE. SHAPE: see ShapeConfig();
// its model with random weights is written to DIRECTORY, unless it is there. The program writes one
// line of facts, then for each line it reads, BEAM:SENTENCES:TOKENS, the seconds of CPU time that
// one run took and the first sentence's tokens. It measures beam 1 only, and says null for others.
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/standard_descriptors.h"
#include "model/engine/kernels/simd.h"
#include "model/engine/load_model.h"
#include "tests/bench/bench_model.h"
#include "tests/bench/thread_time.h"

namespace leapstream {
namespace {

// Token i of a sentence; the same in compare/ctranslate2_offline_worker.py.
TokenId SourceToken(int sentence, int i) { return 100 + (sentence * 131 + i * 37) % 5000; }

absl::StatusOr<std::vector<TokenId>> Translate(const Translator& translator, int sentences,
                                               int tokens) {
  std::vector<std::unique_ptr<SessionState>> states;
  std::vector<SessionState*> pointers;
  std::vector<std::vector<TokenId>> sources(sentences);
  std::vector<SourceRows> rows;
  for (int s = 0; s < sentences; ++s) {
    auto state = translator.NewState();
    if (!state.ok()) return state.status();
    states.push_back(*std::move(state));
    pointers.push_back(states.back().get());
    for (int i = 0; i < tokens; ++i) sources[s].push_back(SourceToken(s, i));
    rows.push_back({pointers.back(), sources[s]});
  }
  absl::Status status = translator.Read(rows);
  std::vector<Decision> decisions(sentences);
  std::vector<TokenId> first;
  for (int t = 0; t < tokens && status.ok(); ++t) {
    status = translator.Decide(pointers, absl::MakeSpan(decisions));
    for (int s = 0; s < sentences && status.ok(); ++s) {
      const Decision& decision = decisions[s];
      const bool end = decision.best.id == kEndOfSentence;
      const TokenId token = end ? decision.second.id : decision.best.id;
      pointers[s]->Commit(token);
      if (s == 0) first.push_back(token);
    }
  }
  if (!status.ok()) return status;
  return first;
}

int Main(const std::string& shape, const std::string& directory, const std::string& compute_type) {
  const std::optional<ModelConfig> config = ShapeConfig(shape);
  if (!config.has_value()) {
    std::cerr << "offline_bench: the shape needs to be base, big, 600M or 1.3B, got " << shape
              << "\n";
    return 1;
  }
  absl::Status written =
      WriteRandomModel(*config, directory, LEAPSTREAM_SOURCE_DIR "/model/pretrained/en-de");
  LoadOptions options;
  options.compute_type = compute_type;
  const auto model = written.ok() ? LoadModel(directory, options) : written;
  if (!model.ok()) {
    std::cerr << "offline_bench: " << model.status() << "\n";
    return 1;
  }
  std::cout << "{\"kernels\": \"" << Simd().name << "\"}" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    const std::vector<std::string> parts = absl::StrSplit(line, ':');
    int beam = 0, sentences = 0, tokens = 0;
    if (parts.size() != 3 || !absl::SimpleAtoi(parts[0], &beam) ||
        !absl::SimpleAtoi(parts[1], &sentences) || !absl::SimpleAtoi(parts[2], &tokens)) {
      std::cerr << "offline_bench: a case needs to be BEAM:SENTENCES:TOKENS, got " << line << "\n";
      return 1;
    }
    if (beam != 1) {
      std::cout << "null" << std::endl;
      continue;
    }
    const double start = ThreadSeconds();
    const auto first = Translate(*(*model)->translator, sentences, tokens);
    const double seconds = ThreadSeconds() - start;
    if (!first.ok()) {
      std::cerr << "offline_bench: " << first.status() << "\n";
      return 1;
    }
    std::cout << "{\"seconds\": " << seconds << ", \"tokens\": [" << absl::StrJoin(*first, ", ")
              << "]}" << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace leapstream

int main(int argc, char** argv) {
  if (!leapstream::OpenStandardDescriptors()) return 1;
  if (argc != 4) {
    std::cerr << "usage: offline_bench SHAPE DIRECTORY COMPUTE_TYPE\n";
    return 1;
  }
  return leapstream::Main(argv[1], argv[2], argv[3]);
}
