#include "model/torch/torch_scores.h"

#include <algorithm>
#include <limits>

#include <ATen/ATen.h>
#include "model/engine/contract.h"

namespace leapstream {
namespace {

constexpr int64_t kDeviceLogits = 64 << 20;  // Logits that are there at once.
constexpr int64_t kCopiedLogits = 4 << 20;   // Those that are on the processor at once.

int64_t RowsTogether(int64_t logits, const TorchOutput& output) {
  return std::max<int64_t>(logits / output.vocabulary(), 1);
}

// Columns of DecideRows(). Tokens are exact in float64.
enum Column { kBest, kBestLogProb, kSecond, kSecondLogProb, kWants, kAttended, kColumns };

// The decisions of rows of logits, as [R, kColumns] float64.
at::Tensor Choices(const at::Tensor& logits, const at::Tensor& wants, const at::Tensor& attended) {
  const at::Tensor log_probs = at::log_softmax(logits, -1);
  // Ties go to the lowest index, as argmax gives it.
  const at::Tensor best = log_probs.argmax(-1, /*keepdim=*/true);
  const at::Tensor most = log_probs.gather(-1, best);
  const at::Tensor rest = log_probs.scatter(-1, best, -std::numeric_limits<double>::infinity());
  const at::Tensor second = rest.argmax(-1, /*keepdim=*/true);
  const at::Tensor none = at::zeros_like(best);
  std::vector<at::Tensor> columns = {best,
                                     most,
                                     second,
                                     rest.gather(-1, second),
                                     wants.defined() ? wants.unsqueeze(-1) : none,
                                     attended.defined() ? attended.unsqueeze(-1) : none.sub(1)};
  for (at::Tensor& column : columns) column = column.to(at::kDouble);
  return at::cat(columns, -1).to(c10::Device("cpu")).contiguous();
}

at::Tensor RowsFrom(const at::Tensor& rows, int64_t begin, int64_t count) {
  return rows.defined() ? rows.narrow(0, begin, count) : rows;
}

}  // namespace

void DecideRows(const TorchOutput& output, const at::Tensor& x, const TorchNotes& notes,
                absl::Span<Decision> result) {
  static_assert(kNoSource == -1, "a row without attention has this number");
  const int64_t together = RowsTogether(kDeviceLogits, output);
  for (int64_t begin = 0; begin < x.size(0); begin += together) {
    const int64_t count = std::min(together, x.size(0) - begin);
    const at::Tensor choices =
        Choices(output(x.narrow(0, begin, count)), RowsFrom(notes.wants, begin, count),
                RowsFrom(notes.attended, begin, count));
    for (int64_t r = 0; r < count; ++r) {
      const double* const row = choices.data_ptr<double>() + r * kColumns;
      Decision& decision = result[static_cast<size_t>(begin + r)];
      decision = Decision();
      decision.wants_source = row[kWants] != 0;
      if (decision.wants_source) continue;
      decision.best = {static_cast<TokenId>(row[kBest]), static_cast<float>(row[kBestLogProb])};
      decision.second = {static_cast<TokenId>(row[kSecond]),
                         static_cast<float>(row[kSecondLogProb])};
      decision.attended = static_cast<int>(row[kAttended]);
    }
  }
}

void ShowRows(const TorchOutput& output, const at::Tensor& x,
              absl::FunctionRef<float(size_t row)> temperature,
              absl::FunctionRef<void(size_t row, const TokenScores& scores)> visit) {
  const int64_t vocabulary = output.vocabulary();
  const int64_t together = RowsTogether(kCopiedLogits, output);
  for (int64_t begin = 0; begin < x.size(0); begin += together) {
    const int64_t count = std::min(together, x.size(0) - begin);
    const at::Tensor logits = output(x.narrow(0, begin, count)).to(c10::Device("cpu")).contiguous();
    for (int64_t r = 0; r < count; ++r) {
      const auto row = static_cast<size_t>(begin + r);
      visit(row, Scored(absl::MakeSpan(logits.data_ptr<float>() + r * vocabulary, vocabulary),
                        temperature(row)));
    }
  }
}

}  // namespace leapstream
