#ifndef LEAPSTREAM_TESTS_MODEL_ENGINE_CLONES_H_
#define LEAPSTREAM_TESTS_MODEL_ENGINE_CLONES_H_

#include <memory>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include "absl/types/span.h"
#include "model/api/translator.h"
#include "model/api/vocabulary.h"

namespace leapstream {

// The sizes of a model's input and output.
struct ModelSizes {
  int source_vocabulary = 0;  // 0: the model takes speech.
  int samples_per_read = 0;   // For speech.
  int target_vocabulary = 0;
};

using Decided = std::vector<std::pair<TokenId, float>>;  // -1: more source was wanted.

// Makes READs and steps in an order that depends on `seed`; some steps are left open. Returns all
// decisions.
inline Decided Drive(const Translator& translator, const ModelSizes& sizes, SessionState* state,
                     int seed, int acts) {
  std::mt19937 random(seed);
  Decided decided;
  for (int a = 0; a < acts; ++a) {
    if (random() % 2 == 0 || state->source_read() == 0) {
      std::vector<TokenId> tokens;
      std::vector<float> samples;
      if (sizes.source_vocabulary > 0) {
        tokens.push_back(4 + static_cast<TokenId>(random() % (sizes.source_vocabulary - 4)));
      }
      for (int i = 0; i < sizes.samples_per_read; ++i) {
        samples.push_back(static_cast<float>(random() % 2000) - 1000);
      }
      const SourceRows rows{state, tokens, samples};
      EXPECT_TRUE(translator.Read({rows}).ok());
    }
    Decision decision;
    EXPECT_TRUE(translator.Decide({state}, absl::MakeSpan(&decision, 1)).ok());
    decided.push_back({decision.wants_source ? -1 : decision.best.id, decision.best.log_prob});
    const TokenId token = 4 + static_cast<TokenId>(random() % (sizes.target_vocabulary - 4));
    if (!decision.wants_source && random() % 4 != 0) state->Commit(token);
  }
  return decided;
}

// Checks that clones of a state, taken at several places, go on as the state would have, to the
// bit, whatever happens to the state and to other clones.
inline void ExpectClonesGoOnByThemselves(const Translator& translator, const ModelSizes& sizes) {
  constexpr int kActs = 8;
  for (const int acts : {0, 1, 5, 12}) {
    SCOPED_TRACE(acts);
    const auto new_state = [&] {
      auto state = *translator.NewState();
      state->SetWaitK(2, 1);
      Drive(translator, sizes, state.get(), 1, acts);
      return state;
    };
    const Decided expected = Drive(translator, sizes, new_state().get(), 2, kActs);
    auto original = new_state();
    const int64_t bytes = original->bytes();
    const auto clone = *original->Clone();
    const auto other = *original->Clone();
    // A state with a past of its own, which it forgets.
    const auto taken = *translator.NewState();
    Drive(translator, sizes, taken.get(), 4, kActs + acts);
    ASSERT_TRUE(taken->CopyFrom(*original).ok());
    for (const SessionState* copy : {clone.get(), other.get(), taken.get()}) {
      EXPECT_EQ(original->source_read(), copy->source_read());
      EXPECT_EQ(original->target_written(), copy->target_written());
    }
    // Shared memory counts once in the sum, and never for more than it is.
    EXPECT_LE(clone->bytes() + other->bytes(), 2 * bytes);
    EXPECT_LE(original->bytes(), bytes);
    Drive(translator, sizes, other.get(), 3, kActs);
    EXPECT_LE(original->bytes(), bytes);
    EXPECT_EQ(expected, Drive(translator, sizes, original.get(), 2, kActs));
    const auto later = *clone->Clone();
    EXPECT_EQ(expected, Drive(translator, sizes, taken.get(), 2, kActs));
    ASSERT_TRUE(taken->CopyFrom(*clone).ok());
    original.reset();
    other->Reset();
    EXPECT_EQ(expected, Drive(translator, sizes, clone.get(), 2, kActs));
    EXPECT_EQ(expected, Drive(translator, sizes, later.get(), 2, kActs));
    EXPECT_EQ(expected, Drive(translator, sizes, taken.get(), 2, kActs));
  }
}

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_MODEL_ENGINE_CLONES_H_
