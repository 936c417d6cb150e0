#ifndef LEAPSTREAM_MODEL_ENGINE_SOURCE_READER_H_
#define LEAPSTREAM_MODEL_ENGINE_SOURCE_READER_H_

#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "model/api/model_config.h"
#include "model/api/translator.h"
#include "model/engine/batch.h"
#include "model/engine/observer.h"
#include "model/engine/parameters.h"
#include "model/engine/session_state.h"
#include "model/engine/speech/speech_front_end.h"

namespace leapstream {

// The part of reading source that comes before the encoder's layers, so that engines share it: it
// counts source in its state and says which rows are to be encoded. A causal encoder takes each row
// once. What a bidirectional one reads is kept, and its whole prefix is a batch whenever it has
// grown. Speech goes through its front end, which computes on the processor. Const and thread-safe;
// only states change.
class SourceReader {
 public:
  // parameters: the whole model's. `config` and `observer` must outlive the reader.
  SourceReader(const Parameters& parameters, const ModelConfig& config,
               const RowObserver& observer);

  // Makes the reader's part of a state.
  void AddTo(TransformerState* state) const;
  // Takes a state's new tokens or samples. Adds the rows of a causal encoder to `batch`.
  void Read(const SourceRows& rows, SourceBatch* batch) const;
  // Puts the prefixes that have changed since the last call into scratch.source, and calls
  // `encode` for that batch, several times if it is large. The cross-attention of their states is
  // empty then. Does nothing if the encoder is causal.
  void ReadPrefixes(absl::Span<SessionState* const> states, Scratch& scratch,
                    absl::FunctionRef<void()> encode, BetweenLayers between_layers) const;

  // Counts the rows in their states: see SessionState::TakeCost().
  static void CountRows(const SourceBatch& batch) {
    for (TransformerState* owner : batch.owners) ++owner->cost_.encoder_rows;
  }
  // Copies the rows of speech [R, width], in place of embeddings.
  static void CopySpeech(const SourceBatch& batch, int64_t width, float* x);

 private:
  void ReadTokens(const SourceRows& rows, SourceBatch* batch) const;
  void ReadSamples(const SourceRows& rows) const;
  // Puts the whole prefix of a state into `batch` if the prefix has changed since the last call.
  // Returns whether it has.
  bool ReadPrefix(TransformerState* state, SourceBatch* batch, Workspace& scratch) const;

  const ModelConfig& config_;
  const RowObserver& observer_;
  const std::unique_ptr<const SpeechFrontEnd> speech_;  // Null for text.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_SOURCE_READER_H_
