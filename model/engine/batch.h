#ifndef LEAPSTREAM_MODEL_ENGINE_BATCH_H_
#define LEAPSTREAM_MODEL_ENGINE_BATCH_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "model/api/translator.h"
#include "model/engine/attention/attention.h"
#include "model/engine/kernels/workspace.h"
#include "model/engine/session_state.h"

namespace leapstream {

struct Rows {  // [count, width], contiguous.
  float* x;
  int64_t count;
  int64_t width;
};

// Source rows of several sessions. The rows of one session are in order; with a bidirectional
// encoder they are its whole prefix.
struct SourceBatch {
  void Clear() {
    owners.clear();
    tokens.clear();
    positions.clear();
    provisional = false;
  }
  void Add(TransformerState* owner, absl::Span<const TokenId> source, int first) {
    AddRows(owner, static_cast<int>(source.size()), first);
    tokens.insert(tokens.end(), source.begin(), source.end());
  }
  void AddRows(TransformerState* owner, int count, int first) {
    for (int i = 0; i < count; ++i) {
      owners.push_back(owner);
      positions.push_back(first + i);
    }
  }

  std::vector<TransformerState*> owners;  // One for each row.
  std::vector<TokenId> tokens;            // None for speech.
  std::vector<int> positions;
  bool provisional = false;  // The rows of a causal encoder are those of open steps.
};

// Target rows of several sessions, on their way through the decoder. The rows of one session are in
// order.
struct TargetBatch {
  void Clear() {
    owners.clear();
    places.clear();
    tokens.clear();
    positions.clear();
    reads_nothing.clear();
    seen.clear();
    attended.clear();
    provisional.clear();
  }

  std::vector<TransformerState*> owners;  // One for each row that is still to be decided.
  std::vector<size_t> places;             // The places of these rows in the call's batch.
  std::vector<TokenId> tokens;            // One for each row of the call.
  std::vector<int> positions;
  std::vector<bool> reads_nothing;  // Whether the row reads nothing of the source.
  // For each row that is replayed: the end of the rows of the source batch that it may read.
  std::vector<int64_t> seen;
  std::vector<bool> provisional;  // See AttentionRow. Empty: none is.
  // Decision::attended of each row, if some row asks for it; else empty.
  std::vector<int> attended;
};

// The memory that a call needs beside its results.
struct Scratch {
  Workspace floats;
  SourceBatch source;
  TargetBatch target;
  std::vector<AttentionRow> rows;
  std::vector<AttentionRow> source_rows;
  std::vector<SessionState*> states;  // Those of a call to Score().
  std::vector<float> weights;  // Of one row's cross-attention.
  std::vector<Decision> decided;  // Those of Verify().
  std::vector<int> agreed;        // The tokens that Verify() commits, for each state.
  std::vector<Decision> undecided;  // Score()'s: no decision is made.
};

// Scratch memory for one call. The calling thread keeps it for its next call. A call that is made
// between the layers of another has its own.
class ScratchLoan {
 public:
  ScratchLoan() {
    if (Idle().empty()) Idle().push_back(std::make_unique<Scratch>());
    scratch_ = std::move(Idle().back());
    Idle().pop_back();
  }
  ~ScratchLoan() { Idle().push_back(std::move(scratch_)); }
  ScratchLoan(const ScratchLoan&) = delete;
  ScratchLoan& operator=(const ScratchLoan&) = delete;
  Scratch& operator*() const { return *scratch_; }

 private:
  static std::vector<std::unique_ptr<Scratch>>& Idle() {
    thread_local std::vector<std::unique_ptr<Scratch>> idle;
    return idle;
  }
  std::unique_ptr<Scratch> scratch_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_BATCH_H_
