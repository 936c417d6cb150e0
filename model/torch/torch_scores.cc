#include "model/torch/torch_scores.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include "absl/algorithm/container.h"

namespace leapstream {
namespace {

constexpr int64_t kDeviceLogits = 64 << 20;  // Logits that are there at once.
constexpr int64_t kCopiedLogits = 4 << 20;   // Those that are copied to the processor at once.

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

// Columns as one row of float64 on the processor, which is one copy from the device.
std::vector<double> Copied(std::vector<at::Tensor> columns) {
  for (at::Tensor& column : columns) column = column.to(at::kDouble).flatten();
  const at::Tensor all = at::cat(columns).to(c10::Device("cpu")).contiguous();
  return std::vector<double>(all.data_ptr<double>(), all.data_ptr<double>() + all.numel());
}

// Some rows of logits, and what is copied from the device of them.
class ShownRows {
 public:
  ShownRows(const TorchContext& context, int64_t vocabulary)
      : context_(context), vocabulary_(vocabulary) {}

  void Add(const AskedScores& asked);
  int64_t size() const { return static_cast<int64_t>(rows_.size()); }
  // The number of rows that are copied as a whole.
  int64_t whole() const { return whole_; }
  // Computes what the rows ask for. logits: [size(), N].
  void Compute(const at::Tensor& logits);
  // The scores that a row has asked for. Valid until the next call.
  TokenScores Of(int64_t row);
  // The scores of all tokens. Valid until the next call.
  TokenScores AllOf(int64_t row);

 private:
  // Rows of which equally many of the best tokens are wanted: a number of k tokens each.
  struct Group {
    std::vector<int64_t> rows;
    size_t logits = 0, ids = 0;  // The places in numbers_ of [rows, k] each.
  };
  struct Row {
    float temperature = 1;
    double weight_at = 0;
    double part = 0;
    int64_t best = 0;            // N: all tokens.
    size_t place = 0;            // In its group.
    size_t weights = 0;          // The place in numbers_ of what Weigh() adds.
    size_t tokens = 0, end = 0;  // Places in tokens_.
  };
  // The sums of weights of a few rows: [rows, 4], with the sum of all, then of the token that
  // reaches the part the sum before it, its logit and itself.
  at::Tensor Weigh(const std::vector<int64_t>& rows, const at::Tensor& most) const;
  at::Tensor Some(const at::Tensor& x, const std::vector<int64_t>& rows) const {
    return static_cast<int64_t>(rows.size()) == size() ? x
                                                       : x.index_select(0, context_.Upload(rows));
  }

  const TorchContext& context_;
  const int64_t vocabulary_;
  std::vector<Row> rows_;
  std::map<int64_t, Group> groups_;  // By the number of tokens; 0 and N included.
  std::vector<int64_t> tokens_;      // The wanted tokens of all rows, as places in all logits.
  int64_t whole_ = 0;

  at::Tensor logits_;                  // [size(), N]
  at::Tensor whole_rows_, whole_row_;  // The rows of the group of N tokens, and that of AllOf().
  std::vector<double> numbers_;
  size_t logits_of_tokens_ = 0;  // The place in numbers_ of those of tokens_.
  std::vector<std::pair<TokenId, float>> found_;
  std::vector<TokenId> ids_;
  std::vector<float> shown_;
};

void ShownRows::Add(const AskedScores& asked) {
  Row& row = rows_.emplace_back();
  row.temperature = asked.temperature;
  row.weight_at = asked.wanted.weight_at;
  row.part = asked.wanted.part;
  // Powers of two, so that there are few groups. A large part of a row is no less than the row.
  if (asked.wanted.best > 0) {
    row.best = 1;
    while (row.best < asked.wanted.best) row.best *= 2;
    if (row.best >= vocabulary_ / 4) row.best = vocabulary_;
  }
  std::vector<int64_t>& together = groups_[row.best].rows;
  row.place = together.size();
  together.push_back(size() - 1);
  row.tokens = tokens_.size();
  if (row.best == vocabulary_) {
    ++whole_;
  } else {
    for (const TokenId id : asked.wanted.tokens) tokens_.push_back((size() - 1) * vocabulary_ + id);
  }
  row.end = tokens_.size();
}

void ShownRows::Compute(const at::Tensor& logits) {
  logits_ = logits;
  if (absl::c_any_of(rows_, [](const Row& row) { return row.temperature != 1; })) {
    std::vector<float> temperatures;
    for (const Row& row : rows_) temperatures.push_back(row.temperature);
    logits_ = logits / context_.Upload(temperatures.data(), {size(), 1});
  }
  const at::Tensor most = logits_.amax(-1, /*keepdim=*/true);
  std::vector<at::Tensor> columns = {most, (logits_ - most).exp_().sum(-1).log()};
  size_t count = 2 * rows_.size();
  const auto add = [&](const at::Tensor& column) {
    columns.push_back(column);
    return std::exchange(count, count + static_cast<size_t>(column.numel()));
  };
  for (auto& [best, group] : groups_) {
    if (best == 0) continue;
    const at::Tensor part = Some(logits_, group.rows);
    if (best == vocabulary_) {
      whole_rows_ = part.to(c10::Device("cpu")).contiguous();
      continue;
    }
    const auto [values, ids] = at::topk(part, best);
    group.logits = add(values);
    group.ids = add(ids);
  }
  logits_of_tokens_ = count;
  if (!tokens_.empty()) add(logits_.flatten().index_select(0, context_.Upload(tokens_)));
  std::vector<int64_t> weighed;
  const auto weigh = [&] {
    if (!weighed.empty()) add(Weigh(weighed, most));
    weighed.clear();
  };
  for (int64_t r = 0; r < size(); ++r) {
    Row& row = rows_[static_cast<size_t>(r)];
    if (row.weight_at <= 0 || row.best == vocabulary_) continue;
    row.weights = count + 4 * weighed.size();
    weighed.push_back(r);
    if (static_cast<int64_t>(weighed.size() + 1) * vocabulary_ > kCopiedLogits) weigh();
  }
  weigh();
  numbers_ = Copied(std::move(columns));
}

at::Tensor ShownRows::Weigh(const std::vector<int64_t>& rows, const at::Tensor& most) const {
  std::vector<double> weight_at, parts;
  std::vector<int64_t> without;
  for (size_t i = 0; i < rows.size(); ++i) {
    const Row& row = rows_[static_cast<size_t>(rows[i])];
    weight_at.push_back(row.weight_at);
    parts.push_back(row.part);
    for (size_t t = row.tokens; t < row.end; ++t) {
      without.push_back(static_cast<int64_t>(i) * vocabulary_ + tokens_[t] % vocabulary_);
    }
  }
  const at::Tensor x = Some(logits_, rows).to(at::kDouble);
  const at::Tensor weights =
      ((x - Some(most, rows)) / context_.Upload(weight_at).unsqueeze(-1)).exp_();
  if (!without.empty()) weights.view(-1).index_fill_(0, context_.Upload(without), 0);
  const at::Tensor sums = weights.cumsum(-1);
  const at::Tensor all = sums.narrow(-1, vocabulary_ - 1, 1);
  const at::Tensor reached = sums.lt(all * context_.Upload(parts).unsqueeze(-1))
                                 .sum(-1, /*keepdim=*/true)
                                 .clamp_max(vocabulary_ - 1);
  return at::cat(
      {all, (sums - weights).gather(-1, reached), x.gather(-1, reached), reached.to(at::kDouble)},
      -1);
}

TokenScores ShownRows::Of(int64_t r) {
  const Row& row = rows_[static_cast<size_t>(r)];
  TokenScores scores;
  scores.most = static_cast<float>(numbers_[static_cast<size_t>(r)]);
  scores.log_sum = static_cast<float>(numbers_[rows_.size() + static_cast<size_t>(r)]);
  if (row.best == vocabulary_) {
    scores.logits = absl::MakeConstSpan(
        whole_rows_.data_ptr<float>() + static_cast<int64_t>(row.place) * vocabulary_, vocabulary_);
    return scores;
  }
  found_.clear();
  for (size_t i = row.tokens; i < row.end; ++i) {
    found_.emplace_back(static_cast<TokenId>(tokens_[i] % vocabulary_),
                        static_cast<float>(numbers_[logits_of_tokens_ + i]));
  }
  scores.rest = scores.most;
  const Group& group = groups_.at(row.best);
  for (int64_t i = 0; i < row.best; ++i) {
    const size_t place = row.place * static_cast<size_t>(row.best) + static_cast<size_t>(i);
    found_.emplace_back(static_cast<TokenId>(numbers_[group.ids + place]),
                        static_cast<float>(numbers_[group.logits + place]));
    scores.rest = found_.back().second;  // The last one is the least.
  }
  if (row.weight_at > 0) {
    const double* const weighed = numbers_.data() + row.weights;
    scores.weights = weighed[0];
    if (row.part > 0) {
      scores.weights_before = weighed[1];
      scores.reached = static_cast<TokenId>(weighed[3]);
      found_.emplace_back(scores.reached, static_cast<float>(weighed[2]));
    }
  }
  absl::c_sort(found_);
  ids_.clear();
  shown_.clear();
  for (const auto& [id, logit] : found_) {
    if (!ids_.empty() && ids_.back() == id) continue;
    ids_.push_back(id);
    shown_.push_back(logit);
  }
  scores.ids = ids_;
  scores.logits = shown_;
  return scores;
}

TokenScores ShownRows::AllOf(int64_t r) {
  whole_row_ = logits_.select(0, r).to(c10::Device("cpu")).contiguous();
  TokenScores scores;
  scores.logits = absl::MakeConstSpan(whole_row_.data_ptr<float>(), vocabulary_);
  scores.most = static_cast<float>(numbers_[static_cast<size_t>(r)]);
  scores.log_sum = static_cast<float>(numbers_[rows_.size() + static_cast<size_t>(r)]);
  return scores;
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

void ShowRows(const TorchContext& context, const TorchOutput& output, const at::Tensor& x,
              absl::FunctionRef<AskedScores(size_t row)> asked, ScoreVisitor visit) {
  const int64_t together = RowsTogether(kDeviceLogits, output);
  const int64_t copied = RowsTogether(kCopiedLogits, output);
  for (int64_t begin = 0; begin < x.size(0);) {
    ShownRows shown(context, output.vocabulary());
    const int64_t most = std::min(together, x.size(0) - begin);
    while (shown.size() < most && shown.whole() < copied) {
      shown.Add(asked(static_cast<size_t>(begin + shown.size())));
    }
    shown.Compute(output(x.narrow(0, begin, shown.size())));
    for (int64_t r = 0; r < shown.size(); ++r) {
      const auto row = static_cast<size_t>(begin + r);
      if (!visit(row, shown.Of(r))) visit(row, shown.AllOf(r));
    }
    begin += shown.size();
  }
}

}  // namespace leapstream
