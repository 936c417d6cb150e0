// Translates whole sentences, as compare.py --offline wants it: each sentence has as many source
// tokens as the case says, and its decoder makes as many steps, greedily with beam 1. All sentences
// of a case are one batch on one thread. Usage: offline_bench SHAPE DIRECTORY COMPUTE_TYPE. SHAPE: see ShapeConfig();
// its model with random weights is written to DIRECTORY, unless it is there. The program writes one
// line of facts, then for each line it reads, BEAM:SENTENCES:TOKENS, the seconds of CPU time that
// one run took and the first sentence's tokens (of a beam's best hypothesis, </s> left out).
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/standard_descriptors.h"
#include "base/status.h"
#include "model/engine/kernels/simd.h"
#include "model/engine/load_model.h"
#include "streaming/segment_search.h"
#include "tests/bench/bench_model.h"
#include "tests/bench/thread_time.h"

namespace leapstream {
namespace {

// Token i of a sentence; the same in compare/ctranslate2_offline_worker.py.
TokenId SourceToken(int sentence, int i) { return 100 + (sentence * 131 + i * 37) % 5000; }

using States = std::vector<std::unique_ptr<SessionState>>;

// The states of all sentences, which have read their sources.
absl::StatusOr<States> ReadAll(const Translator& translator, int sentences, int tokens) {
  States states;
  std::vector<std::vector<TokenId>> sources(sentences);
  std::vector<SourceRows> rows;
  for (int s = 0; s < sentences; ++s) {
    auto state = translator.NewState();
    if (!state.ok()) return state.status();
    states.push_back(*std::move(state));
    for (int i = 0; i < tokens; ++i) sources[s].push_back(SourceToken(s, i));
    rows.push_back({states.back().get(), sources[s]});
  }
  LEAPSTREAM_RETURN_IF_ERROR(translator.Read(rows));
  return states;
}

absl::StatusOr<std::vector<TokenId>> Greedy(const Translator& translator, int sentences,
                                            int tokens) {
  States states;
  LEAPSTREAM_ASSIGN_OR_RETURN(states, ReadAll(translator, sentences, tokens));
  std::vector<SessionState*> pointers;
  for (const auto& state : states) pointers.push_back(state.get());
  absl::Status status;
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

// As the scheduler does it: the rows of all searches are one batch. The last step's token is </s>.
absl::StatusOr<std::vector<TokenId>> Search(const Translator& translator, int vocabulary_size,
                                            int beam, int sentences, int tokens) {
  States states;
  LEAPSTREAM_ASSIGN_OR_RETURN(states, ReadAll(translator, sentences, tokens));
  BeamOptions options;
  options.beam = beam;
  options.min_length = options.max_length_b = tokens - 1;
  BeamTask task;
  task.source_length = task.source_words = tokens;
  task.vocabulary_size = vocabulary_size;
  std::vector<std::unique_ptr<SegmentSearch>> searches(sentences);
  for (int s = 0; s < sentences; ++s) {
    LEAPSTREAM_ASSIGN_OR_RETURN(searches[s], SegmentSearch::Begin(*states[s], options, task));
  }
  std::vector<ScoreRow> rows;
  std::vector<std::pair<SegmentSearch*, size_t>> owners;  // Each row's search, and its row there.
  while (true) {
    rows.clear();
    owners.clear();
    for (const auto& search : searches) {
      for (size_t r = 0; !search->done() && r < search->rows().size(); ++r) {
        rows.push_back(search->rows()[r]);
        owners.emplace_back(search.get(), r);
      }
    }
    if (rows.empty()) break;
    LEAPSTREAM_RETURN_IF_ERROR(
        translator.Score(rows, [&owners](size_t row, const TokenScores& scores) {
          return owners[row].first->Take(owners[row].second, scores);
        }));
    for (const auto& search : searches) {
      if (!search->done()) LEAPSTREAM_RETURN_IF_ERROR(search->Advance());
    }
  }
  std::vector<TokenId> first = searches[0]->search().Result().front().ids;
  first.pop_back();
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
    const Translator& translator = *(*model)->translator;
    const double start = ThreadSeconds();
    const auto first =
        beam == 1 ? Greedy(translator, sentences, tokens)
                  : Search(translator, config->decoder.vocabulary_size, beam, sentences, tokens);
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
