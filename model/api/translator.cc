#include "model/api/translator.h"

#include <vector>

#include "absl/types/span.h"
#include "base/status.h"

namespace leapstream {

absl::Status NotFiniteError() {
  return absl::InternalError(
      "the model's activations are not finite for this source; check the model's weights, and that "
      "no type of few bits is asked for");
}

absl::Status Translator::Verify(absl::Span<const GivenRows> rows,
                                BetweenLayers between_layers) const {
  std::vector<const GivenRows*> open;
  std::vector<SessionState*> states;
  for (const GivenRows& row : rows) {
    if (!row.tokens.empty() || row.decides) open.push_back(&row);
  }
  std::vector<Decision> decisions(open.size());
  for (size_t step = 0; !open.empty(); ++step) {
    states.clear();
    for (const GivenRows* row : open) states.push_back(row->state);
    LEAPSTREAM_RETURN_IF_ERROR(
        Decide(states, absl::MakeSpan(decisions).first(open.size()), between_layers));
    size_t kept = 0;
    for (size_t r = 0; r < open.size(); ++r) {
      const GivenRows& row = *open[r];
      if (decisions[r].wants_source) {
        return absl::UnimplementedError("a model with a policy of its own verifies no tokens");
      }
      row.decisions[step] = decisions[r];
      if (step == row.tokens.size()) continue;
      const TokenId token = row.tokens[step];
      if (step >= static_cast<size_t>(row.forced) && decisions[r].best.id != token) continue;
      row.state->Commit(token);
      if (step + 1 < row.tokens.size() || row.decides) open[kept++] = &row;
    }
    open.resize(kept);
  }
  return absl::OkStatus();
}

}  // namespace leapstream
