#include "model/torch/torch_decoder.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>
#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace leapstream {
namespace {

// A batch of target rows as its sessions, one after the other.
struct TargetSessions {
  explicit TargetSessions(const TargetBatch& target) {
    for (TransformerState* owner : target.owners) {
      if (owners.empty() || owners.back() != owner) {
        owners.push_back(owner);
        counts.push_back(0);
      }
      ++counts.back();
    }
  }
  std::vector<TransformerState*> owners;
  std::vector<int64_t> counts;
};

// Whether all decisions of a session's rows are finite. Behind forced tokens there are none.
bool AreFinite(const GivenRows& rows) {
  for (int i = rows.forced; i < StepsOf(rows); ++i) {
    if (!rows.decisions[static_cast<size_t>(i)].finite()) return false;
  }
  return true;
}

TargetBatch RowsOf(const TargetBatch& all, const std::vector<int64_t>& rows) {
  TargetBatch some;
  for (const int64_t row : rows) {
    const auto r = static_cast<size_t>(row);
    some.owners.push_back(all.owners[r]);
    some.tokens.push_back(all.tokens[r]);
    some.positions.push_back(all.positions[r]);
    some.reads_nothing.push_back(all.reads_nothing[r]);
  }
  return some;
}

}  // namespace

TorchDecoder::Layer::Layer(const TorchParameters& parameters, const ModelConfig& config)
    : self_attention(parameters.Under("self_attention"), config, config.decoder),
      self_attention_norm(parameters.Under("self_attention_norm")),
      cross_attention(TorchAttention::Cross(parameters.Under("cross_attention"), config)),
      cross_attention_norm(parameters.Under("cross_attention_norm")),
      ffn(parameters.Under("ffn"), *ParseActivation(config.activation_fn)),
      ffn_norm(parameters.Under("ffn_norm")) {}

TorchDecoder::TorchDecoder(const TorchParameters& parameters, const ModelConfig& config,
                           std::shared_ptr<TorchContext> context)
    : config_(config),
      context_(std::move(context)),
      steps_(config),
      embedding_(parameters, "decoder", config.decoder, config),
      output_(parameters, config),
      self_(MakeTorchPast(ShapeOfSelf(config.decoder, config), context_)),
      cross_(MakeCrossPast(parameters, config, context_)),
      alignment_heads_(config.alignment_heads.begin(), config.alignment_heads.end()) {
  const TorchParameters own = parameters.Under("decoder");
  for (int l = 0; l < config.decoder.layers; ++l) {
    layers_.emplace_back(own.Under(absl::StrCat("layers.", l)), config);
  }
  if (config.decoder.final_norm) norm_ = TorchNorm(own.Under("norm"));
  for (int h = 0; config.alignment_heads.empty() && h < config.decoder.attention_heads; ++h) {
    alignment_heads_.push_back(h);
  }
}

void TorchDecoder::AddTo(TransformerState* state) const {
  state->self_past().push_back(self_->NewState());
  state->cross_past().push_back(cross_->NewState());
}

absl::Status TorchDecoder::Reserve(int states) const {
  LEAPSTREAM_RETURN_IF_ERROR(self_->Reserve(states));
  return cross_->Reserve(states);
}

void TorchDecoder::Append(const TorchEncoder::Encoded& encoded) const {
  std::vector<AttentionState*> states;
  for (TransformerState* owner : encoded.owners) states.push_back(owner->cross_past()[0].get());
  const auto call = cross_->Open(states, encoded.grid, TorchPast::Use::kSettles);
  for (size_t l = 0; l < layers_.size(); ++l) {
    call->Append(static_cast<int64_t>(l),
                 layers_[l].cross_attention.KeysAndValues(encoded.x, encoded.positions));
  }
  call->Close({encoded.grid.counts(), std::vector<bool>(states.size(), false)});
}

TorchDecoder::Cross TorchDecoder::OpenCross(const TargetBatch& target,
                                            const std::vector<TransformerState*>& sessions,
                                            const RowGrid& grid, TorchPast::Use use) const {
  std::vector<AttentionState*> states;
  for (TransformerState* owner : sessions) states.push_back(owner->cross_past()[0].get());
  Cross cross;
  if (config_.LearnedPolicy()) {
    std::vector<int64_t> finished;
    for (const TransformerState* owner : sessions) {
      // First rows are run whatever their heads want.
      const bool settles = use == TorchPast::Use::kSettles;
      finished.push_back(settles || TargetSteps::SourceIsFinished(*owner) ? 1 : 0);
    }
    auto moving = static_cast<const TorchMonotonic&>(*cross_).OpenMoving(states, grid, finished);
    cross.call = std::move(moving.call);
    cross.moves = moving.moves;
  } else {
    cross.call = cross_->Open(states, grid, TorchPast::Use::kReads);
  }
  if (absl::c_linear_search(target.reads_nothing, true)) {
    cross.nothing =
        context_
            ->Upload(std::vector<int64_t>(target.reads_nothing.begin(), target.reads_nothing.end()))
            .ne(0)
            .view({-1, 1, 1});
  }
  return cross;
}

std::unique_ptr<TorchDecoder::Run> TorchDecoder::RunLayers(const TargetBatch& target,
                                                           TorchPast::Use use) const {
  TargetSteps::CountRows(target);
  const TargetSessions sessions(target);
  auto run = std::make_unique<Run>(sessions.counts, *context_);
  std::vector<AttentionState*> states;
  for (TransformerState* owner : sessions.owners) states.push_back(owner->self_past()[0].get());
  run->self = self_->Open(states, run->grid, use);
  const Cross cross = OpenCross(target, sessions.owners, run->grid, use);
  const at::Tensor positions =
      context_->Upload(std::vector<int64_t>(target.positions.begin(), target.positions.end()));
  const bool before = config_.decoder.normalize_before;
  at::Tensor x = embedding_(target.tokens, positions);
  for (size_t l = 0; l < layers_.size(); ++l) {
    const auto number = static_cast<int64_t>(l);
    const Layer& layer = layers_[l];
    x = TorchResidual(layer.self_attention_norm, before, x, [&](const at::Tensor& in) {
      return layer.self_attention.Output(
          run->self->Step(number, layer.self_attention.HeadsOf(in, positions)));
    });
    x = TorchResidual(layer.cross_attention_norm, before, x, [&](const at::Tensor& in) {
      const at::Tensor query = layer.cross_attention.Query(in, positions);
      if (config_.ShowsAttention() && number == config_.AlignmentLayer()) {
        run->notes.attended = Attended(target, query, *cross.call);
      }
      const at::Tensor attended = cross.call->Attend(number, query);
      return layer.cross_attention.Output(
          cross.nothing.defined() ? attended.masked_fill(cross.nothing, 0) : attended);
    });
    x = TorchResidual(layer.ffn_norm, before, x, layer.ffn);
  }
  run->x = norm_.weight.defined() ? norm_(x) : x;
  if (cross.moves != nullptr) run->notes.wants = cross.moves->wanted();
  return run;
}

at::Tensor TorchDecoder::Attended(const TargetBatch& target, const at::Tensor& query,
                                  TorchPastCall& cross) const {
  std::vector<int64_t> first, end;
  for (size_t r = 0; r < target.owners.size(); ++r) {
    TargetSteps::Looked looked = TargetSteps::LooksAt(*target.owners[r]);
    if (target.reads_nothing[r]) looked.end = looked.first;
    first.push_back(looked.first);
    end.push_back(looked.end);
  }
  if (first == end) return at::Tensor();
  const TorchLook look = {context_->Upload(alignment_heads_), context_->Upload(first),
                          context_->Upload(end)};
  const at::Tensor most = cross.MostAttended(config_.AlignmentLayer(), query, look);
  return at::where(look.first < look.end, most - look.first, at::full_like(most, kNoSource));
}

void TorchDecoder::RunSettled(const TargetBatch& target) const {
  if (target.owners.empty()) return;
  const TargetSessions sessions(target);
  const std::vector<RowPass> passes =
      DivideRows(sessions.counts, config_.LearnedPolicy() ? 1 : kCausalRows);
  for (const RowPass& pass : passes) {
    const auto run = RunLayers(passes.size() == 1 ? target : RowsOf(target, pass.rows()),
                               TorchPast::Use::kSettles);
    run->self->Close(
        {run->grid.counts(), std::vector<bool>(static_cast<size_t>(run->grid.sessions()), false)});
  }
}

std::unique_ptr<TorchDecoder::Run> TorchDecoder::RunSteps(size_t count,
                                                          TargetSteps::StateOf state_of,
                                                          Scratch& scratch) const {
  TargetBatch& target = scratch.target;
  steps_.Open(count, state_of, &target);
  RunSettled(target);
  target.Clear();
  steps_.AddFed(count, state_of, &target);
  auto run = RunLayers(target, TorchPast::Use::kSteps);
  run->self->Close({std::vector<int64_t>(count, 0), std::vector<bool>(count, true)});
  return run;
}

void TorchDecoder::Decide(absl::Span<SessionState* const> states, absl::Span<Decision> result,
                          Scratch& scratch) const {
  const auto state_of = [&](size_t b) { return static_cast<TransformerState*>(states[b]); };
  const auto run = RunSteps(states.size(), state_of, scratch);
  DecideRows(output_, run->x, run->notes, result);
  for (size_t b = 0; b < states.size(); ++b) {
    if (result[b].wants_source) TargetSteps::WaitsForSource(state_of(b));
  }
}

void TorchDecoder::Score(absl::Span<const ScoreRow> rows, ScoreVisitor visit,
                         Scratch& scratch) const {
  const auto state_of = [&](size_t b) { return static_cast<TransformerState*>(rows[b].state); };
  const auto run = RunSteps(rows.size(), state_of, scratch);
  ShowRows(
      *context_, output_, run->x,
      [&](size_t row) {
        return AskedScores{rows[row].temperature, rows[row].wanted};
      },
      visit);
}

std::vector<GivenRows> TorchDecoder::Verify(absl::Span<const GivenRows> rows,
                                            Scratch& scratch) const {
  const auto state_of = [&](size_t b) { return static_cast<TransformerState*>(rows[b].state); };
  TargetBatch& target = scratch.target;
  steps_.Open(rows.size(), state_of, &target);
  RunSettled(target);
  target.Clear();
  for (const GivenRows& given : rows) {
    steps_.AddGiven(given, StepsOf(given), given.decides, /*all=*/false, &target);
  }
  if (target.owners.empty()) return {};
  const auto run = RunLayers(target, TorchPast::Use::kSteps);

  std::vector<int64_t> decided;
  ForEachDecided(rows, [&](int64_t row) { decided.push_back(row); });
  scratch.decided.resize(decided.size());
  if (!decided.empty()) {
    const at::Tensor places = context_->Upload(decided);
    TorchNotes notes;
    if (run->notes.attended.defined()) notes.attended = run->notes.attended.index_select(0, places);
    DecideRows(output_, run->x.index_select(0, places), notes, absl::MakeSpan(scratch.decided));
  }
  TakeDecisions(rows, scratch.decided, &scratch.agreed);
  std::vector<GivenRows> apart;
  TorchPastCall::Kept kept;
  for (size_t b = 0; b < rows.size(); ++b) {
    if (StepsOf(rows[b]) == 0) continue;  // It has no row.
    if (StepsOf(rows[b]) > 1 && !AreFinite(rows[b])) {
      apart.push_back(rows[b]);
      kept.given_up.push_back(static_cast<int64_t>(kept.settled.size()));
      kept.settled.push_back(0);
      kept.open.push_back(false);
      scratch.agreed[b] = 0;
      continue;
    }
    kept.settled.push_back(scratch.agreed[b]);
    kept.open.push_back(scratch.agreed[b] < StepsOf(rows[b]));
  }
  run->self->Close(kept);
  CommitGiven(rows, scratch.agreed);
  return apart;
}

}  // namespace leapstream
