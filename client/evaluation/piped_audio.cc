#include "client/evaluation/piped_audio.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "client/evaluation/audio_container.h"

namespace leapstream::client {
namespace {

constexpr uint64_t kMaxFormatBytes = 4096;
constexpr uint64_t kMaxChannels = 256;
constexpr uint64_t kMaxSampleRate = 1000000;
// A writer into a pipe cannot go back to fill in a size, and declares one that is never reached:
// 0x7FFFFFFF, 0x80000000 and 0xFFFFFFFF, less the header, have been seen.
constexpr uint64_t kNoSize = 0x7FFF0000;

uint64_t Number(absl::string_view bytes, bool big_endian) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    value = value << 8 |
            static_cast<unsigned char>(bytes[big_endian ? i : bytes.size() - 1 - i]);
  }
  return value;
}

absl::Status Refuse(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(
      "want raw mono S16_LE samples, WAV or AU through a pipe, got ", what,
      "; name the file (--audio FILE), or decode it before: ffmpeg -i FILE -f s16le -ar 16000 -ac "
      "1 - | leapstream translate --audio -"));
}

// A-law of G.711, decoded to 16-bit values.
int ALaw(unsigned char byte) {
  byte ^= 0x55;
  const int exponent = byte >> 4 & 7, mantissa = byte & 15;
  const int value =
      exponent == 0 ? (mantissa << 4) + 8 : ((mantissa << 4) + 0x108) << (exponent - 1);
  return (byte & 0x80) != 0 ? value : -value;
}

int MuLaw(unsigned char byte) {
  byte = static_cast<unsigned char>(~byte);
  const int value = (((byte & 15) << 3) + 0x84) << (byte >> 4 & 7);
  return (byte & 0x80) != 0 ? 0x84 - value : value - 0x84;
}

}  // namespace

absl::Status PipedAudio::Append(absl::string_view bytes) {
  bytes_.append(bytes.data(), bytes.size());
  if (state_ == State::kAfter) bytes_.clear();
  if (state_ == State::kSamples || state_ == State::kAfter) return absl::OkStatus();
  if (state_ == State::kUnknown && NeedsMore(bytes_)) return absl::OkStatus();
  return ReadHeader();
}

absl::Status PipedAudio::Finish() {
  if (state_ == State::kUnknown) LEAPSTREAM_RETURN_IF_ERROR(ReadHeader());
  if (state_ == State::kChunks && has_format_ && bytes_.size() >= 8 &&
      absl::StartsWith(bytes_, "data")) {  // The header waited for more bytes.
    bytes_.erase(0, 8);
    BeginSamples(0, /*until_end=*/true);
  }
  if (!is_known()) return Refuse("a file that ends within its header");
  if (raw_ && bytes_.size() % 2 != 0) {
    return absl::InvalidArgumentError(
        "the input ends within a 16-bit sample; is it raw S16_LE audio?");
  }
  if (!any_ && bytes_.size() < width() * channels_) {
    return absl::InvalidArgumentError("the input holds no sample");
  }
  return absl::OkStatus();
}

absl::Status PipedAudio::ReadHeader() {
  if (state_ == State::kUnknown) {
    const absl::string_view kind = ContainerOf(bytes_);
    if (kind.empty()) {
      LEAPSTREAM_RETURN_IF_ERROR(CheckFormat(static_cast<uint64_t>(sample_rate_)));
      BeginSamples(0, /*until_end=*/true);
      return absl::OkStatus();
    }
    raw_ = false;
    if (kind == "WAV") {
      big_endian_ = absl::StartsWith(bytes_, "RIFX");
      bytes_.erase(0, 12);
      state_ = State::kChunks;
    } else if (kind == "AU") {
      big_endian_ = absl::StartsWith(bytes_, ".snd");
      state_ = State::kAuHeader;
    } else {
      return Refuse(absl::StrCat("a file of the kind ", kind));
    }
  }
  if (state_ == State::kAuHeader) return ReadAuHeader();
  while (state_ == State::kChunks) {
    const size_t before = bytes_.size();
    LEAPSTREAM_RETURN_IF_ERROR(ReadChunk());
    if (bytes_.size() == before) break;  // The chunk is not complete yet.
  }
  return absl::OkStatus();
}

absl::Status PipedAudio::ReadChunk() {
  const size_t skip = static_cast<size_t>(std::min<uint64_t>(skipped_, bytes_.size()));
  bytes_.erase(0, skip);
  skipped_ -= skip;
  if (skipped_ > 0 || bytes_.size() < 8) return absl::OkStatus();
  const absl::string_view id = absl::string_view(bytes_).substr(0, 4);
  const uint64_t size = Number(absl::string_view(bytes_).substr(4, 4), big_endian_);
  if (id == "data") {
    if (!has_format_) return Refuse("a WAV file whose samples come before their format");
    if (size == 0) {
      // Either the size was never filled in, or there is no sample: then other chunks may follow.
      if (bytes_.size() < 12) return absl::OkStatus();
      for (const char* other : {"LIST", "bext", "id3 ", "ID3 ", "cue ", "smpl", "JUNK", "PAD "}) {
        if (bytes_.compare(8, 4, other) == 0) {
          state_ = State::kAfter;
          return absl::OkStatus();
        }
      }
    }
    bytes_.erase(0, 8);
    BeginSamples(size, size == 0 || size >= kNoSize);
    return absl::OkStatus();
  }
  if (id != "fmt ") {
    bytes_.erase(0, 8);
    skipped_ = size + size % 2;
    return absl::OkStatus();
  }
  if (size > kMaxFormatBytes) return Refuse("a damaged WAV file");
  if (bytes_.size() < 8 + size) return absl::OkStatus();
  LEAPSTREAM_RETURN_IF_ERROR(ReadFormat(absl::string_view(bytes_).substr(8, size)));
  bytes_.erase(0, 8 + size);
  skipped_ = size % 2;
  return absl::OkStatus();
}

absl::Status PipedAudio::ReadFormat(absl::string_view content) {
  if (content.size() < 16) return Refuse("a damaged WAV file");
  const auto number = [&](size_t at, size_t size) {
    return Number(content.substr(at, size), big_endian_);
  };
  uint64_t tag = number(0, 2);
  if (tag == 0xFFFE && content.size() >= 26) tag = number(24, 2);  // Extensible form.
  const uint64_t bits = number(14, 2);
  channels_ = number(2, 2);
  has_format_ = true;
  if (tag == 1 && bits == 8) {
    coding_ = Coding::kU8;
  } else if (tag == 1 && bits == 16) {
    coding_ = Coding::kS16;
  } else if (tag == 1 && bits == 24) {
    coding_ = Coding::kS24;
  } else if (tag == 1 && bits == 32) {
    coding_ = Coding::kS32;
  } else if (tag == 3 && bits == 32) {
    coding_ = Coding::kF32;
  } else if (tag == 3 && bits == 64) {
    coding_ = Coding::kF64;
  } else if (tag == 6 && bits == 8) {
    coding_ = Coding::kALaw;
  } else if (tag == 7 && bits == 8) {
    coding_ = Coding::kMuLaw;
  } else {
    return Refuse(absl::StrFormat("WAV of the coding 0x%04X with %d bits", tag, bits));
  }
  return CheckFormat(number(4, 4));
}

absl::Status PipedAudio::ReadAuHeader() {
  if (bytes_.size() < 24) return absl::OkStatus();
  const auto number = [&](size_t at) {
    return Number(absl::string_view(bytes_).substr(at, 4), big_endian_);
  };
  const uint64_t begin = number(4), size = number(8);
  if (begin < 24 || begin > kMaxFormatBytes) return Refuse("a damaged AU file");
  if (bytes_.size() < begin) return absl::OkStatus();
  switch (number(12)) {
    case 1:
      coding_ = Coding::kMuLaw;
      break;
    case 2:
      coding_ = Coding::kS8;
      break;
    case 3:
      coding_ = Coding::kS16;
      break;
    case 4:
      coding_ = Coding::kS24;
      break;
    case 5:
      coding_ = Coding::kS32;
      break;
    case 6:
      coding_ = Coding::kF32;
      break;
    case 7:
      coding_ = Coding::kF64;
      break;
    case 27:
      coding_ = Coding::kALaw;
      break;
    default:
      return Refuse(absl::StrCat("AU of the coding ", number(12)));
  }
  channels_ = number(20);
  LEAPSTREAM_RETURN_IF_ERROR(CheckFormat(number(16)));
  bytes_.erase(0, begin);
  BeginSamples(size, size == 0 || size >= kNoSize);
  return absl::OkStatus();
}

absl::Status PipedAudio::CheckFormat(uint64_t rate) {
  if (channels_ < 1 || channels_ > kMaxChannels) {
    return Refuse(absl::StrCat("a file with ", channels_, " channels"));
  }
  if (static_cast<uint64_t>(channel_) > channels_) {
    return absl::InvalidArgumentError(
        absl::StrCat("the input has no channel ", channel_, ", but ", channels_,
                     "; leave the channel out for the mean of all"));
  }
  if (rate < 1 || rate > kMaxSampleRate) {
    return Refuse(absl::StrCat("a file with ", rate, " samples a second"));
  }
  sample_rate_ = static_cast<int>(rate);
  return absl::OkStatus();
}

void PipedAudio::BeginSamples(uint64_t declared, bool until_end) {
  state_ = State::kSamples;
  until_end_ = until_end;
  left_ = declared;
}

size_t PipedAudio::width() const {
  switch (coding_) {
    case Coding::kU8:
    case Coding::kS8:
    case Coding::kALaw:
    case Coding::kMuLaw:
      return 1;
    case Coding::kS16:
      return 2;
    case Coding::kS24:
      return 3;
    case Coding::kS32:
    case Coding::kF32:
      return 4;
    case Coding::kF64:
      return 8;
  }
  return 1;
}

double PipedAudio::Decode(const char* sample) const {
  const size_t size = width();
  const uint64_t bits = Number({sample, size}, big_endian_);
  const auto first = static_cast<unsigned char>(*sample);
  switch (coding_) {
    case Coding::kU8:
      return (static_cast<int>(first) - 128) / 128.0;
    case Coding::kALaw:
      return ALaw(first) / 32768.0;
    case Coding::kMuLaw:
      return MuLaw(first) / 32768.0;
    case Coding::kF32: {
      const auto low = static_cast<uint32_t>(bits);
      float value;
      std::memcpy(&value, &low, sizeof(value));
      return value;
    }
    case Coding::kF64: {
      double value;
      std::memcpy(&value, &bits, sizeof(value));
      return value;
    }
    case Coding::kS8:
    case Coding::kS16:
    case Coding::kS24:
    case Coding::kS32:
      break;
  }
  // The highest bit is the sign.
  const auto aligned = static_cast<int64_t>(bits << (64 - 8 * size));
  return static_cast<double>(aligned) / 9223372036854775808.0;
}

std::string PipedAudio::Take() {
  if (state_ != State::kSamples) return "";
  const size_t frame = width() * channels_;
  uint64_t there = bytes_.size();
  if (!until_end_) there = std::min(there, left_);
  const size_t frames = static_cast<size_t>(there) / frame;
  any_ = any_ || frames > 0;
  std::string taken;
  if (raw_) {
    taken = bytes_.substr(0, frames * frame);
  } else {
    taken.resize(frames * sizeof(float));
    for (size_t i = 0; i < frames; ++i) {
      const auto decoded = [&](size_t c) {
        return static_cast<float>(Decode(bytes_.data() + i * frame + c * width()));
      };
      float sample = 0;
      if (channel_ == kAllChannels) {
        for (size_t c = 0; c < channels_; ++c) sample += decoded(c);
        sample /= static_cast<float>(channels_);
      } else {
        sample = decoded(static_cast<size_t>(channel_ - 1));
      }
      uint32_t bits;
      std::memcpy(&bits, &sample, sizeof(bits));
      for (int b = 0; b < 4; ++b) taken[i * 4 + b] = static_cast<char>(bits >> (8 * b));
    }
  }
  bytes_.erase(0, frames * frame);
  if (!until_end_) {
    left_ -= frames * frame;
    if (left_ < frame) {
      state_ = State::kAfter;
      bytes_.clear();
    }
  }
  return taken;
}

}  // namespace leapstream::client
