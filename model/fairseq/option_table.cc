#include "model/fairseq/option_table.h"

#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace leapstream {
namespace {

constexpr auto kApplied = OptionEffect::kApplied;
constexpr auto kNone = OptionEffect::kNone;
constexpr auto kRefused = OptionEffect::kRefused;

constexpr unsigned kMonotonic = kMonotonicText;
constexpr unsigned kMasked = kMaskedText;
constexpr unsigned kUnidirectional = kUnidirectionalText;
constexpr unsigned kBidirectional = kBidirectionalText;
constexpr unsigned kSimulSpeech = kSimultaneousSpeech;
constexpr unsigned kSpeech = kSimultaneousSpeech | kOfflineSpeech;
constexpr unsigned kOffline = kUnidirectional | kBidirectional;
constexpr unsigned kText = kMonotonic | kMasked | kUnidirectional | kBidirectional;
constexpr unsigned kSimultaneous = kMonotonic | kSimulSpeech;
constexpr unsigned kLm = kLanguageModel;
constexpr unsigned kTranslation = kText | kSpeech;
constexpr unsigned kAll = kAllModels;

// The names are those of fairseq 0.9 to its last version, of LeaPformer's fork and of attn2d.
constexpr OptionRow kRows[] = {
    {kApplied, kAll, "arch _name task", "others than those of the table above are refused"},
    {kApplied, kAll, "source_lang target_lang",
     "the model's languages, unless --source-lang and --target-lang are given"},
    {kApplied, kAll,
     "encoder_embed_dim encoder_ffn_embed_dim encoder_layers encoder_attention_heads "
     "encoder_normalize_before decoder_embed_dim decoder_ffn_embed_dim decoder_layers "
     "decoder_attention_heads decoder_normalize_before decoder_output_dim no_decoder_final_norm",
     "the network; parameters of another shape are refused"},
    {kApplied, kAll, "decoder_input_dim", "as the parameters' shapes say"},
    {kApplied, kSpeech, "token_embed_dim conv_out_channels conv_channels conv_version",
     "as the parameters' shapes say"},
    {kApplied, kOfflineSpeech, "conv_kernel_sizes", "odd kernels; others are refused"},
    {kApplied, kOfflineSpeech, "depthwise_conv_kernel_size attn_type pos_enc_type",
     "a conformer's layers: fairseq's attention, or espnet's with the positions abs, rel_pos or "
     "rope; others are refused"},
    {kApplied, kMasked, "decoder_inner_dim", "as the parameters' shapes say"},
    {kApplied, kAll, "activation_fn",
     "relu, gelu, gelu_fast, gelu_accurate, tanh, swish, linear; others are refused"},
    {kApplied, kMasked, "gelu", "the same as activation_fn gelu"},
    {kApplied, kText, "share_all_embeddings", "one table"},
    {kApplied, kAll, "share_decoder_input_output_embed", "one table"},
    {kApplied, kAll,
     "no_scale_embedding no_token_positional_embeddings decoder_learned_pos max_positions "
     "max_source_positions max_target_positions",
     "embeddings and positions; an encoder of speech always has positions"},
    {kApplied, kText, "encoder_learned_pos", "a table of positions"},
    {kNone, kSpeech, "encoder_learned_pos share_all_embeddings",
     "an encoder of speech has neither such a table nor embeddings"},
    {kApplied, kLm, "layernorm_embedding", "a norm after the embeddings"},
    {kApplied, kText, "layernorm_embedding",
     "not in a simultaneous decoder, which never applies its own"},
    {kApplied, kOfflineSpeech, "layernorm_embedding", "the decoder's alone"},
    {kNone, kSimulSpeech, "layernorm_embedding",
     "an encoder of speech has no such norm, and a simultaneous decoder never applies its own"},

    {kApplied, kMonotonic, "simul_type",
     "waitk, hard_aligned, infinite_lookback, chunkwise; others are refused"},
    {kApplied, kSimulSpeech, "simul_type", "waitk_fixed_pre_decision; others are refused"},
    {kApplied, kSimultaneous, "waitk_lagging mass_preservation", "the policy"},
    {kApplied, kSimultaneous, "policy_criterion", "any; others are refused"},
    {kApplied, kMonotonic, "energy_bias", "of a learned policy; wait-k does not use it"},
    {kNone, kSimulSpeech, "energy_bias", "wait-k does not use it"},
    {kApplied, kSimulSpeech, "fixed_pre_decision_ratio fixed_pre_decision_type", "the policy"},
    {kApplied, kOfflineSpeech, "fixed_pre_decision_ratio",
     "the encoder states of a READ that a session has by default: 25 unless "
     "--fixed-pre-decision-ratio says otherwise"},
    {kApplied, kMasked, "waitk min_waitk max_waitk multi_waitk",
     "the k that a session has by default"},
    {kApplied, kMasked, "encoder_decoder_attention_heads",
     "as many as decoder_attention_heads; others are refused"},

    {kApplied, kAll,
     "enc_leapformer_enable encoder_leapformer_enable dec_sa_leapformer_enable "
     "decoder_sa_leapformer_enable dec_ca_leapformer_enable decoder_ca_leapformer_enable "
     "leap_factor",
     "LeaP is where its parameters are; options that say otherwise are refused"},
    {kApplied, kMonotonic | kUnidirectional, "linearized_train",
     "with LeaP in the encoder the fork drops its causal mask, at inference too: it is served as a "
     "bidirectional encoder; elsewhere without effect"},
    {kNone, kBidirectional | kSpeech | kLm, "linearized_train",
     "these models have no encoder with a mask to drop"},
    {kApplied, kBidirectional, "share_encoder_ffn_attn_layer", "layers that are one and the same"},
    {kNone, kMonotonic | kUnidirectional, "share_encoder_ffn_attn_layer",
     "a causal encoder makes all of its layers anew"},
    {kApplied, kMonotonic | kUnidirectional | kBidirectional | kLm, "share_decoder_ffn_attn_layer",
     "layers that are one and the same"},
    {kRefused, kSpeech, "share_encoder_ffn_attn_layer share_decoder_ffn_attn_layer",
     "layers that are one and the same, which are not served of speech"},
    {kApplied, kSpeech, "input_feat_per_channel", "80; others are refused"},

    {kApplied, kOffline,
     "langs lang_dict lang_pairs lang_tok_style langtoks langtoks_specs encoder_langtok "
     "decoder_langtok lang_tok_replacing_bos_eos extra_data",
     "the languages, what the dictionaries have of them and where their tokens stand; fairseq takes "
     "these from the command line, so the flags of the same names replace them"},
    {kRefused, kOffline, "prepend_bos", "<s> in front of each source"},
    {kRefused, kOffline, "moe_freq moe_expert_count", "a mixture of experts"},
    {kNone, kOffline,
     "keep_inference_langtok enable_lang_ids enable_reservsed_directions_shared_datasets "
     "enable_m2m_validation extra_lang_pairs fixed_dictionary source_dict target_dict "
     "sampling_method sampling_temperature sampling_weights sampling_weights_from_file "
     "same_lang_per_batch virtual_data_size virtual_epoch_size one_dataset_per_batch "
     "add_data_source_prefix_tags",
     "what a model of many languages was trained on"},
    {kNone, kOffline,
     "moe_batch_prioritized_routing moe_eval_capacity_token_fraction moe_gating_use_fp32 "
     "moe_normalize_expert_grad moe_normalize_gate_prob_before_dropping moe_second_expert_policy "
     "moe_top1_expert use_moe_pad_mask record_a2a_perf_stats dummy_a2a",
     "of a mixture of experts, which is refused when it is on"},
    {kNone, kOffline,
     "mask mask_length mask_random insert permute permute_sentences poisson_lambda replace_length "
     "rotate sample_break_mode tokens_per_sample shorten_method shorten_data_split_list "
     "add_lang_token multilang_sampling_alpha no_whole_word_mask_langs",
     "the noise of BART's own training"},
    {kNone, kOffline,
     "share_encoder_embeddings share_decoder_embeddings share_encoders share_decoders",
     "a checkpoint repeats what its pairs of languages share"},
    {kNone, kOffline, "alignment_heads alignment_layer full_context_alignment",
     "transformer_align's attention is trained as an alignment, which nothing reads"},
    {kNone, kOffline, "pooler_activation_fn pooler_dropout spectral_norm_classification_head",
     "BART's classification"},

    {kApplied, kLm,
     "adaptive_input adaptive_softmax_cutoff tie_adaptive_weights tie_adaptive_proj",
     "bands of words, as the parameters' shapes say"},
    {kNone, kLm, "adaptive_input_cutoff adaptive_input_factor",
     "the parameters' shapes say what the bands are"},
    {kNone, kLm, "tokens_per_sample sample_break_mode output_dictionary_size pad_to_fixed_bsz "
     "pad_to_fixed_length shorten_method shorten_data_split_list",
     "how the training cut its text; tokens_per_sample is the longest text of a model that says no "
     "other"},
    {kRefused, kLm, "add_bos_token self_target future_target past_target",
     "other beginnings of a text, and other targets than the next token"},
    {kRefused, kLm, "character_embeddings", "embeddings made of characters"},
    {kNone, kLm,
     "character_filters character_embedding_dim char_embedder_highway_layers",
     "of something that is refused when it is on"},
    {kRefused, kTranslation,
     "adaptive_input adaptive_softmax_cutoff tie_adaptive_weights tie_adaptive_proj",
     "another network"},
    {kRefused, kTranslation,
     "adaptive_input_cutoff adaptive_input_factor add_bos_token character_embeddings "
     "character_embedding_dim character_filters char_embedder_highway_layers",
     "of language models"},
    {kRefused, kAll,
     "cross_self_attention no_cross_attention char_inputs base_layers merge_src_tgt_embed "
     "quant_noise_scalar quantization_config_path encoder_layers_to_keep "
     "decoder_layers_to_keep encoder_xformers_att_config decoder_xformers_att_config",
     "another network"},
    {kRefused, kAll, "scale_attn scale_heads scale_fc scale_resids", "more norms and scales"},
    {kRefused, kAll,
     "simple_attention simple_cross_attn linear_pos_enable cosformer_attn_enable "
     "cosformer_expt_attn_enable combin_attn_enable combin_expt_attn_enable mid_sin_attn_enable",
     "the attentions of LeaPformer's predecessors"},
    {kRefused, kSpeech, "ctc_compress_out", "the encoder's output is shortened by CTC"},
    {kNone, kSpeech,
     "max_memory_size segment_length segment_left_context segment_right_context "
     "amtrf_tanh_on_mem",
     "of Emformer's layers, which a convtransformer_emformer has and does not run"},
    {kRefused, kSpeech, "encoder_mask_future_delay encoder_mask_block_size",
     "versions of the fork mask the encoder's attention by it; a block size of 1 is off"},
    {kRefused, 0,
     "increase_context left_context right_context segment_size share_mem_bank_layers",
     "of architectures that are not served"},

    {kNone, kAll,
     "dropout attention_dropout activation_dropout relu_dropout adaptive_softmax_dropout "
     "encoder_layerdrop decoder_layerdrop",
     "nothing is dropped at inference"},
    {kNone, kAll, "quant_noise_pq", "noise on the weights, in training only"},
    {kNone, kAll, "adaptive_softmax_factor base_sublayers base_shuffle quant_noise_pq_block_size",
     "of something that is refused when it is on"},
    {kNone, kSpeech, "ctc_compress_strategy", "of something that is refused when it is on"},
    {kNone, kAll, "checkpoint_activations offload_activations min_params_to_wrap export",
     "memory of the training"},
    {kNone, kAll, "encoder_embed_path decoder_embed_path finetune_from_model restore_file",
     "values before the training"},
    {kNone, kSpeech, "load_pretrained_encoder_from load_pretrained_decoder_from",
     "values before the training"},
    {kNone, kSpeech, "multitask_config_yaml", "tasks beside the translation, of the training"},
    {kNone, kSimultaneous, "attention_eps noise_mean noise_type noise_var energy_bias_init",
     "the expected alignment, which only training computes"},
    {kNone, kMonotonic, "mocha_chunk_size encoder_unidirectional",
     "chunkwise is run as infinite_lookback, and the encoder is causal in any case"},
    {kNone, kSpeech,
     "fixed_pre_decision_pad_threshold ctc_encoder_layer train_monotonic_only input_channels "
     "encoder_unidirectional encoder_freezing_updates",
     "padding, the CTC loss and what is trained; the first convolution has one channel in any "
     "case"},
    {kNone, kMasked, "eval_waitk", "a session chooses its k"},

    {kNone, kAll,
     "data config_yaml dataset_impl left_pad_source left_pad_target truncate_source "
     "load_alignments upsample_primary num_batch_buckets required_seq_len_multiple lazy_load "
     "raw_text batch_size batch_size_valid combine_valid_subsets curriculum data_buffer_size "
     "disable_validation fixed_validation_seed gen_subset grouped_shuffling "
     "ignore_unused_valid_subsets max_sentences max_sentences_valid max_tokens max_tokens_valid "
     "max_valid_steps no_seed_provided num_shards num_workers required_batch_size_multiple "
     "shard_id "
     "skip_invalid_size_inputs_valid_test train_subset update_epoch_batch_itr "
     "update_ordered_indices_seed valid_subset validate_after_updates validate_interval "
     "validate_interval_updates",
     "what was trained on and in which batches"},
    {kApplied, kAll, "bpe tokenizer bpe_separator moses_no_dash_splits moses_no_escape",
     "how text becomes symbols, unless SentencePiece models or other options are given"},
    {kNone, kAll,
     "remove_bpe bpe_add_prefix_space bpe_cased bpe_codes bpe_merges bpe_vocab bpe_vocab_file "
     "gpt2_encoder_json gpt2_vocab_bpe sentencepiece_alpha sentencepiece_enable_sampling "
     "sentencepiece_model sentencepiece_model_path",
     "the files that are given to the export take their place"},
    {kNone, kAll,
     "eval_bleu eval_bleu_args eval_bleu_detok eval_bleu_detok_args eval_bleu_print_samples "
     "eval_bleu_remove_bpe eval_tokenized_bleu scoring sacrebleu sacrebleu_char_level "
     "sacrebleu_lowercase sacrebleu_tokenizer bert_score_lang wer_char_level wer_lowercase "
     "wer_remove_punct wer_tokenizer eos pad unk",
     "scores of the training's own evaluation"},
    {kNone, kAll,
     "criterion underlying_criterion label_smoothing ignore_prefix_size report_accuracy "
     "sentence_avg "
     "alignment_lambda average_method latency_avg_type latency_avg_weight latency_gather_method "
     "latency_update_after latency_var_type latency_var_weight latency_weight_avg "
     "latency_weight_avg_type latency_weight_var latency_weight_var_type r3f_lambda ctc_weight "
     "rdrop_weight rdrop_alpha reg_alpha zero_infinity post_process wer_args wer_kenlm_model "
     "wer_lexicon wer_lm_weight wer_word_score",
     "the loss"},
    {kNone, kAll,
     "optimizer lr_scheduler clip_norm lr max_epoch max_lr max_update min_lr skip_remainder_batch "
     "stop_min_lr stop_time_hours update_freq adadelta_eps adadelta_rho adafactor_eps adam_betas "
     "adam_eps adamax_betas adamax_eps anneal_eps beta1 clip_threshold decay_rate decay_steps "
     "end_learning_rate epoch2lr final_lr_scale force_anneal fp16_adam_stats hold_steps "
     "init_lr_scale lamb_betas lamb_eps lr_deacy_period lr_decay lr_float lr_patience "
     "lr_period_updates lr_shrink lr_threshold momentum no_bias_correction phase_ratio power "
     "rectify relative_step scale_parameter shrink_min t_mult total_num_update update2lr "
     "use_old_adam warmup_init warmup_init_lr warmup_steps warmup_updates weight_decay "
     "weight_decouple",
     "the optimiser"},
    {kNone, kAll, "store_ema ema_decay ema_fp32 ema_seed_model ema_start_update ema_update_freq",
     "the moving average, which is saved apart"},
    {kNone, kAll,
     "amp amp_batch_retries amp_init_scale amp_scale_window bf16 fp16 fp16_init_scale "
     "fp16_no_flatten_grads fp16_scale_tolerance fp16_scale_window memory_efficient_bf16 "
     "memory_efficient_fp16 min_loss_scale threshold_loss_scale on_cpu_convert_precision",
     "arithmetic of the training; that of the reference's agents is float32"},
    {kNone, kAll,
     "all_gather_list_size average_sync block_lr block_momentum broadcast_buffers bucket_cap_mb "
     "cpu "
     "cpu_offload ddp_backend ddp_comm_hook device_id distributed_backend distributed_init_method "
     "distributed_no_spawn distributed_num_procs distributed_port distributed_rank "
     "distributed_world_size distributed_wrapper empty_cache_freq fast_stat_sync "
     "find_unused_parameters fix_batches_to_gpus fp32_reduce_scatter global_sync_iter "
     "gradient_as_bucket_view heartbeat_timeout is_ddp localsgd_frequency model_parallel_size "
     "no_reshard_after_forward not_fsdp_flatten_parameters nprocs_per_node pipeline_balance "
     "pipeline_checkpoint pipeline_chunks pipeline_decoder_balance pipeline_decoder_devices "
     "pipeline_devices pipeline_encoder_balance pipeline_encoder_devices pipeline_model_parallel "
     "slowmo_algorithm slowmo_base_algorithm slowmo_momentum start_rank tbmf_wrapper tpu use_bmuf "
     "use_nbm use_sharded_state warmup_iterations zero_sharding",
     "the training's machines; parameters that lie in several files are refused"},
    {kNone, kAll,
     "best_checkpoint_metric checkpoint_shard_count checkpoint_suffix continue_once "
     "keep_best_checkpoints keep_interval_updates keep_interval_updates_pattern keep_last_epochs "
     "load_checkpoint_on_all_dp_ranks maximize_best_checkpoint_metric no_epoch_checkpoints "
     "no_last_checkpoints no_save no_save_optimizer_state optimizer_overrides patience "
     "reset_dataloader reset_lr_scheduler reset_meters reset_optimizer save_dir save_interval "
     "save_interval_updates write_checkpoints_asynchronously",
     "what is saved and when"},
    {kNone, kAll,
     "aim_repo aim_run_hash azureml_logging debug_param_names log_file log_format log_interval "
     "no_progress_bar plasma_path profile reset_logging seed suppress_crashes tensorboard_logdir "
     "use_plasma_view user_dir wandb_entity wandb_project",
     "logs and the like"},
};

struct KindName {
  unsigned kinds;
  const char* name;
};
constexpr KindName kKindNames[] = {
    {kAll, "all"},
    {kText, "text"},
    {kSpeech, "speech"},
    {kSimulSpeech, "`convtransformer_simul_trans*`"},
    {kOfflineSpeech, "speech that was trained offline"},
    {kMonotonic, "`transformer_monotonic*`"},
    {kMasked, "`waitk_transformer*`"},
    {kUnidirectional, "`transformer_unidirectional*`"},
    {kBidirectional, "`transformer` and its presets"},
    {kLm, "`transformer_lm*`"},
};

std::string KindsText(unsigned kinds) {
  if (kinds == 0) return "none";
  std::vector<std::string> parts;
  for (const KindName& each : kKindNames) {
    if ((kinds & each.kinds) != each.kinds) continue;
    parts.push_back(each.name);
    kinds &= ~each.kinds;
  }
  return absl::StrJoin(parts, ", ");
}

const char* EffectText(OptionEffect effect) {
  switch (effect) {
    case kApplied:
      return "applied";
    case kNone:
      return "without effect";
    case kRefused:
      break;
  }
  return "refused unless off";
}

}  // namespace

absl::Span<const OptionRow> OptionRows() { return kRows; }

const OptionRow* FindOption(absl::string_view name, ModelKind kind) {
  static const auto* const rows = [] {
    auto* result = new std::unordered_map<std::string, std::vector<const OptionRow*>>();
    for (const OptionRow& row : kRows) {
      for (const absl::string_view each : absl::StrSplit(row.names, ' ')) {
        (*result)[std::string(each)].push_back(&row);
      }
    }
    return result;
  }();
  const auto found = rows->find(std::string(name));
  if (found == rows->end()) return nullptr;
  for (const OptionRow* row : found->second) {
    if (row->kinds == 0 || (row->kinds & kind) != 0) return row;
  }
  return nullptr;
}

bool IsOff(absl::string_view value) {
  double number = 1;
  return value.empty() || value == "None" || value == "False" || value == "[]" || value == "{}" ||
         (absl::SimpleAtod(value, &number) && number == 0);
}

std::string OptionTable() {
  std::string text = "| options | models | at inference | |\n| --- | --- | --- | --- |\n";
  for (const OptionRow& row : kRows) {
    const std::vector<std::string> names = absl::StrSplit(row.names, ' ');
    absl::StrAppend(&text, "| `", absl::StrJoin(names, "`, `"), "` | ", KindsText(row.kinds), " | ",
                    EffectText(row.effect), " | ", row.why, " |\n");
  }
  return text;
}

}  // namespace leapstream
