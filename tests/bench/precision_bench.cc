// The cost of a compute type and of a state type in quality: BLEU of a test set translated by each,
// and how often each decides as float32 does when both have read and written the same. Wait-k, an
// early </s> stops.
// Usage: precision_bench MODEL_DIR SOURCE REFERENCE [K]. A sentence a line.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "metrics/bleu.h"
#include "base/standard_descriptors.h"
#include "model/engine/load_model.h"

namespace leapstream {
namespace {

using Tokens = std::vector<TokenId>;

std::vector<std::string> Lines(const char* path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

Tokens Encode(const Model& model, const std::string& text) {
  Tokens ids;
  for (const auto word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    for (const std::string& piece : model.source_tokenizer->Encode(word)) {
      ids.push_back(model.source_vocabulary.Id(piece));
    }
  }
  ids.push_back(kEndOfSentence);
  return ids;
}

std::string Decode(const Model& model, const Tokens& ids) {
  std::vector<std::string> pieces;
  for (const TokenId id : ids) pieces.emplace_back(model.target_vocabulary.Symbol(id));
  return model.target_tokenizer->Decode(pieces);
}

// The model's decisions after each prefix. `forced` has the targets to feed, and so the number of
// decisions; null: the model's own decisions are fed, up to </s>.
std::vector<Tokens> Translate(const Model& model, const std::vector<Tokens>& sources, size_t k,
                              const std::vector<Tokens>* forced) {
  const Translator& translator = *model.translator;
  constexpr size_t kBatch = 128;
  std::vector<Tokens> results(sources.size());
  for (size_t begin = 0; begin < sources.size(); begin += kBatch) {
    const size_t end = std::min(begin + kBatch, sources.size());
    std::vector<std::unique_ptr<SessionState>> states;
    std::vector<size_t> active;
    for (size_t i = begin; i < end; ++i) {
      states.push_back(*translator.NewState());
      active.push_back(i);
    }
    while (!active.empty()) {
      std::vector<SourceRows> rows;
      std::vector<SessionState*> pointers;
      for (const size_t i : active) {
        SessionState* const state = states[i - begin].get();
        const auto read = static_cast<size_t>(state->source_read());
        const size_t due = std::min(sources[i].size(), results[i].size() + k);
        if (due > read) {
          rows.push_back({state, absl::MakeConstSpan(sources[i]).subspan(read, due - read)});
        }
        pointers.push_back(state);
      }
      std::vector<Decision> decisions(pointers.size());
      absl::Status status = translator.Read(rows);
      if (status.ok()) status = translator.Decide(pointers, absl::MakeSpan(decisions));
      if (!status.ok()) {
        std::fprintf(stderr, "precision_bench: %s\n", std::string(status.message()).c_str());
        std::exit(1);
      }
      std::vector<size_t> still;
      for (size_t a = 0; a < active.size(); ++a) {
        const size_t i = active[a];
        const TokenId best = decisions[a].best.id;
        const TokenId fed = forced != nullptr ? (*forced)[i][results[i].size()] : best;
        results[i].push_back(best);
        if (fed == kEndOfSentence || results[i].size() > 2 * sources[i].size() + 100) continue;
        pointers[a]->Commit(fed);
        still.push_back(i);
      }
      active.swap(still);
    }
  }
  return results;
}

int Main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: precision_bench MODEL_DIR SOURCE REFERENCE [K]\n");
    return 2;
  }
  const std::vector<std::string> sources = Lines(argv[2]), references = Lines(argv[3]);
  const int k = argc > 4 ? std::atoi(argv[4]) : 3;
  if (sources.empty() || sources.size() != references.size() || k < 1) {
    std::fprintf(
        stderr,
        "precision_bench: needs two files of as many lines and k of at least 1, got %zu and "
        "%zu lines, k %d\n",
        sources.size(), references.size(), k);
    return 2;
  }
  std::printf("%zu sentences, wait-%d\n%-9s %-9s %8s %8s %14s\n", sources.size(), k, "weights",
              "states", "BLEU", "change", "agrees");
  std::vector<Tokens> exact;
  double exact_bleu = 0;
  for (const auto& [type, states] : std::initializer_list<std::pair<const char*, const char*>>{
           {"float32", "float32"},
           {"float32", "float16"},
           {"bfloat16", "float32"},
           {"int8", "float32"},
           {"int8", "float16"}}) {
    LoadOptions options;
    options.compute_type = type;
    options.state_type = states;
    const auto loaded = LoadModel(argv[1], options);
    if (!loaded.ok()) {
      std::fprintf(stderr, "precision_bench: %s\n", std::string(loaded.status().message()).c_str());
      return 1;
    }
    const Model& model = **loaded;
    std::vector<Tokens> encoded;
    for (const std::string& source : sources) encoded.push_back(Encode(model, source));
    const std::vector<Tokens> own = Translate(model, encoded, k, nullptr);
    const bool is_exact = exact.empty();
    if (is_exact) exact = own;
    const std::vector<Tokens> forced = Translate(model, encoded, k, &exact);
    int64_t same = 0, all = 0;
    for (size_t i = 0; i < exact.size(); ++i) {
      for (size_t t = 0; t < exact[i].size(); ++t) {
        same += forced[i][t] == exact[i][t] ? 1 : 0;
        ++all;
      }
    }
    std::vector<std::string> translations;
    for (Tokens ids : own) {
      if (!ids.empty() && ids.back() == kEndOfSentence) ids.pop_back();
      translations.push_back(Decode(model, ids));
    }
    const double bleu = metrics::Bleu(translations, references).score;
    if (is_exact) exact_bleu = bleu;
    std::printf("%-9s %-9s %8.2f %+8.2f %11.2f %% of %lld tokens\n", type, states, bleu,
                bleu - exact_bleu,
                100.0 * static_cast<double>(same) / static_cast<double>(all),
                static_cast<long long>(all));
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace leapstream

int main(int argc, char** argv) {
  return leapstream::OpenStandardDescriptors() ? leapstream::Main(argc, argv) : 1;
}
