#include "client/evaluation/audio_container.h"

#include <algorithm>
#include <limits>

#include "absl/strings/match.h"

namespace leapstream::client {
namespace {

using absl::string_view;

constexpr int kMaxChunks = 1000;  // Most chunks before the samples.

uint64_t Little(string_view bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i > 0; --i) {
    value = value << 8 | static_cast<unsigned char>(bytes[i - 1]);
  }
  return value;
}

uint64_t Big(string_view bytes) {
  uint64_t value = 0;
  for (const char c : bytes) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

std::string Bytes(uint64_t value, int width, bool big) {
  std::string bytes;
  for (int i = 0; i < width; ++i) {
    bytes += static_cast<char>(value >> (8 * (big ? width - 1 - i : i)));
  }
  return bytes;
}

// Bytes of a frame of MPEG audio; 0: the four bytes are no header of a frame.
size_t MpegFrameBytes(string_view header) {
  static constexpr int kKbits[5][16] = {
      {0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448, -1},
      {0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, -1},
      {0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, -1},
      {0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256, -1},
      {0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, -1}};
  static constexpr int kHertz[3] = {44100, 48000, 32000};
  if (header.size() < 4) return 0;
  const auto bits = static_cast<uint32_t>(Big(header.substr(0, 4)));
  const uint32_t version = bits >> 19 & 3, layer = 4 - (bits >> 17 & 3), rate = bits >> 10 & 3;
  if (bits >> 21 != 0x7FF || version == 1 || layer == 4 || rate == 3) return 0;
  const bool first = version == 3;  // MPEG 1; 2 and 0 are MPEG 2 and 2.5.
  const int kbits = kKbits[first ? layer - 1 : (layer == 1 ? 3 : 4)][bits >> 12 & 15];
  if (kbits <= 0) return 0;
  const int hertz = kHertz[rate] / (first ? 1 : (version == 2 ? 2 : 4));
  const int padding = bits >> 9 & 1;
  if (layer == 1) return 4 * (12000 * kbits / hertz + padding);
  return (layer == 3 && !first ? 72000 : 144000) * kbits / hertz + padding;
}

// Bytes of a frame of AAC in ADTS; 0: the bytes are no header of a frame.
size_t AdtsFrameBytes(string_view header) {
  if (header.size() < 7) return 0;
  const uint64_t bits = Big(header.substr(0, 7));
  if (bits >> 44 != 0xFFF || (bits >> 41 & 3) != 0 || (bits >> 34 & 15) > 12) return 0;
  const size_t size = bits >> 13 & 0x1FFF;
  return size > 7 ? size : 0;
}

// Samples may look like one header; two headers in a row, at the distance that the first one names,
// are no accident.
template <typename FrameBytes>
bool BeginsWithFrames(string_view head, FrameBytes frame_bytes) {
  const size_t first = frame_bytes(head);
  return first > 0 && first < head.size() && frame_bytes(head.substr(first)) > 0;
}

struct Chunk {
  int64_t at = 0;  // Place of the content.
  uint64_t size = 0;
  std::string id;
};

// The layout of a container of chunks. A chunk is an id, a size and the content.
struct ChunkForm {
  size_t id_bytes, size_bytes;
  bool big;
  uint64_t counted;  // Bytes of a chunk's header that its size includes.
  int64_t alignment;

  int64_t header() const { return static_cast<int64_t>(id_bytes + size_bytes); }
};

// Reads the chunk at `at`; false: there is none.
bool ReadChunk(const ReadAt& read, const ChunkForm& form, int64_t at, Chunk* chunk) {
  const std::string bytes = read(at, static_cast<size_t>(form.header()));
  if (static_cast<int64_t>(bytes.size()) < form.header()) return false;
  chunk->id = bytes.substr(0, form.id_bytes);
  const string_view size = string_view(bytes).substr(form.id_bytes);
  chunk->size = form.big ? Big(size) : Little(size);
  chunk->at = at + form.header();
  return true;
}

// The beginning of the chunk after `chunk`; `end` or more: there is none.
int64_t After(const Chunk& chunk, const ChunkForm& form, int64_t end) {
  if (chunk.size < form.counted || chunk.size - form.counted > static_cast<uint64_t>(end)) return end;
  const int64_t next = chunk.at + static_cast<int64_t>(chunk.size - form.counted);
  return next + (form.alignment - next % form.alignment) % form.alignment;
}

// Whether everything from `at` to `end` is chunks, one at least. If so, no samples are there.
bool IsAllChunks(const ReadAt& read, const ChunkForm& form, int64_t at, int64_t end) {
  for (int i = 0; i < kMaxChunks; ++i) {
    Chunk chunk;
    if (!ReadChunk(read, form, at, &chunk)) return false;
    for (const char c : chunk.id.substr(0, 4)) {
      if (c < ' ' || c > '~') return false;
    }
    if (chunk.size < form.counted || chunk.size - form.counted > static_cast<uint64_t>(end - chunk.at)) {
      return false;
    }
    at = After(chunk, form, end);
    if (at >= end) return true;
  }
  return false;
}

// Looks for the chunk of the samples, from `at` on; calls `other` with the chunks before it.
bool FindSamples(const ReadAt& read, const ChunkForm& form, int64_t at, int64_t end,
                 string_view id, Chunk* samples, const std::function<void(const Chunk&)>& other) {
  for (int i = 0; i < kMaxChunks && at < end; ++i) {
    if (!ReadChunk(read, form, at, samples)) return false;
    if (absl::StartsWith(samples->id, id)) return true;
    other(*samples);
    at = After(*samples, form, end);
  }
  return false;
}

// Whether the size of a chunk of samples is wrong: it was never filled in, or is too large.
// `inner`: bytes of the chunk's content before the samples.
bool IsWrong(const ReadAt& read, const ChunkForm& form, const Chunk& samples, uint64_t declared,
             uint64_t inner, int64_t end) {
  const int64_t begin = samples.at + static_cast<int64_t>(inner);
  if (begin >= end) return false;
  if (declared > static_cast<uint64_t>(end - samples.at)) return true;
  return declared <= inner && !IsAllChunks(read, form, begin, end);
}

std::vector<Patch> MendWav(const ReadAt& read, int64_t size, const std::string& head) {
  const bool big = absl::StartsWith(head, "RIFX");
  const bool wide = absl::StartsWith(head, "RF64") || absl::StartsWith(head, "BW64");
  const ChunkForm form = {4, 4, big, 0, 2};
  Chunk samples, sizes;
  if (!FindSamples(read, form, 12, size, "data", &samples, [&](const Chunk& chunk) {
        if (chunk.id == "ds64") sizes = chunk;
      })) {
    return {};
  }
  uint64_t declared = samples.size;
  const bool by_ds64 = wide && sizes.size >= 24 && declared == 0xFFFFFFFF;
  if (by_ds64) declared = Little(read(sizes.at + 8, 8));
  if (!IsWrong(read, form, samples, declared, 0, size)) return {};
  const auto there = static_cast<uint64_t>(size - samples.at);
  if (by_ds64) {
    return {{sizes.at, Bytes(static_cast<uint64_t>(size - 8), 8, false)},
            {sizes.at + 8, Bytes(there, 8, false)}};
  }
  const uint64_t most = std::numeric_limits<uint32_t>::max() - 1;
  return {{4, Bytes(std::min<uint64_t>(static_cast<uint64_t>(size - 8), most), 4, big)},
          {samples.at - 4, Bytes(std::min(there, most), 4, big)}};
}

std::vector<Patch> MendAu(int64_t size, const std::string& head) {
  const bool big = absl::StartsWith(head, ".snd");
  const auto number = [&](size_t at) {
    return static_cast<int64_t>(big ? Big(head.substr(at, 4)) : Little(head.substr(at, 4)));
  };
  if (head.size() < 24 || number(4) >= size) return {};
  const int64_t there = size - number(4);
  if (number(8) > 0 && number(8) <= there) return {};
  return {{8, Bytes(static_cast<uint64_t>(there), 4, big)}};
}

std::vector<Patch> MendAiff(const ReadAt& read, int64_t size) {
  const ChunkForm form = {4, 4, true, 0, 2};
  Chunk samples, common;
  if (!FindSamples(read, form, 12, size, "SSND", &samples, [&](const Chunk& chunk) {
        if (chunk.id == "COMM") common = chunk;
      })) {
    return {};
  }
  constexpr uint64_t kInner = 8;  // An offset and a block size.
  if (!IsWrong(read, form, samples, samples.size, kInner, size)) return {};
  std::vector<Patch> patches = {
      {4, Bytes(static_cast<uint64_t>(size - 8), 4, true)},
      {samples.at - 4, Bytes(static_cast<uint64_t>(size - samples.at), 4, true)}};
  const std::string described = common.size >= 18 ? read(common.at, 22) : "";
  if (described.size() >= 18) {
    const uint64_t channels = Big(described.substr(0, 2)), bits = Big(described.substr(6, 2));
    const std::string coding = common.size >= 22 ? described.substr(18, 4) : "NONE";
    uint64_t width = (bits + 7) / 8;
    if (coding == "ulaw" || coding == "ULAW" || coding == "alaw" || coding == "ALAW") width = 1;
    if (channels * width > 0) {
      const uint64_t frames =
          static_cast<uint64_t>(size - samples.at - static_cast<int64_t>(kInner)) /
          (channels * width);
      patches.push_back({common.at + 2, Bytes(frames, 4, true)});
    }
  }
  return patches;
}

std::vector<Patch> MendW64(const ReadAt& read, int64_t size) {
  const ChunkForm form = {16, 8, false, 24, 8};
  Chunk samples;
  if (!FindSamples(read, form, 40, size, "data", &samples, [](const Chunk&) {})) return {};
  const uint64_t declared = samples.size < form.counted ? 0 : samples.size - form.counted;
  if (!IsWrong(read, form, samples, declared, 0, size)) return {};
  return {{16, Bytes(static_cast<uint64_t>(size), 8, false)},
          {samples.at - 8,
           Bytes(static_cast<uint64_t>(size - samples.at) + form.counted, 8, false)}};
}

std::vector<Patch> MendCaf(const ReadAt& read, int64_t size) {
  const ChunkForm form = {4, 8, true, 0, 1};
  Chunk samples;
  if (!FindSamples(read, form, 8, size, "data", &samples, [](const Chunk&) {})) return {};
  constexpr uint64_t kInner = 4;  // A count of edits.
  if (!IsWrong(read, form, samples, samples.size, kInner, size)) return {};
  return {{samples.at - 8, Bytes(static_cast<uint64_t>(size - samples.at), 8, true)}};
}

// A total of 0 samples means "unknown" in FLAC.
std::vector<Patch> MendFlac(const std::string& head) {
  constexpr size_t kTotal = 21;  // The byte with the first 4 bits of the 36-bit total.
  if (head.size() < 42 || (head[4] & 0x7F) != 0) return {};
  if ((head[kTotal] & 0x0F) != 0 || Big(head.substr(kTotal + 1, 4)) != 0) return {};
  return {{static_cast<int64_t>(kTotal),
           std::string(1, static_cast<char>(head[kTotal] | 0x0F)) + "\xFF\xFF\xFF\xFF"}};
}

}  // namespace

string_view ContainerOf(string_view head) {
  const auto at = [&](size_t from, string_view magic) {
    return head.size() >= from + magic.size() && head.substr(from, magic.size()) == magic;
  };
  static constexpr struct {
    string_view magic;
    string_view name;
  } kKnown[] = {
      {".snd", "AU"},
      {"dns.", "AU"},
      {"fLaC", "FLAC"},
      {"OggS", "Ogg"},
      {"ID3", "MP3"},
      {"caff", "CAF"},
      {{"riff\x2E\x91\xCF\x11\xA5\xD6\x28\xDB", 12}, "W64"},
      {"\x1A\x45\xDF\xA3", "WebM or Matroska"},
      {"\x30\x26\xB2\x75\x8E\x66\xCF\x11", "WMA"},
      {"NIST_1A\n", "NIST SPHERE"},
      {"Creative Voice File", "VOC"},
      {"#!AMR", "AMR"},
      {"#!SILK", "SILK"},
      {"wvpk", "WavPack"},
      {"MAC ", "Monkey's Audio"},
      {"TTA1", "TTA"},
      {"MPCK", "Musepack"},
      {"MP+", "Musepack"},
      {"ADIF", "AAC"},
      {"MThd", "MIDI"},
      {{"\x00\x00\x01\xBA", 4}, "MPEG"},
      {{"\x1F\x8B\x08", 3}, "gzip"},
      {{"PK\x03\x04", 4}, "ZIP"},
  };
  for (const auto& known : kKnown) {
    if (at(0, known.magic)) return known.name;
  }
  if ((at(0, "RIFF") || at(0, "RIFX") || at(0, "RF64") || at(0, "BW64")) && at(8, "WAVE")) {
    return "WAV";
  }
  if (at(0, "RIFF") && at(8, "AVI ")) return "AVI";
  if (at(0, "FORM") && (at(8, "AIFF") || at(8, "AIFC"))) return "AIFF";
  if (at(0, "FORM") && (at(8, "8SVX") || at(8, "16SV"))) return "IFF";
  if (at(4, "ftyp") || at(4, "moov") || at(4, "mdat")) return "MP4";
  if (BeginsWithFrames(head, &MpegFrameBytes)) return "MP3";
  if (BeginsWithFrames(head, &AdtsFrameBytes)) return "AAC";
  return "";
}

bool NeedsMore(string_view head) {
  if (head.size() < 20) return true;
  return head.size() < kContainerBytes && ContainerOf(head).empty() &&
         (MpegFrameBytes(head) > 0 || AdtsFrameBytes(head) > 0);
}

std::vector<Patch> MendSizes(const ReadAt& read, int64_t size) {
  const std::string head = read(0, kContainerBytes);
  const string_view kind = ContainerOf(head);
  if (kind == "WAV") return MendWav(read, size, head);
  if (kind == "AU") return MendAu(size, head);
  if (kind == "AIFF") return MendAiff(read, size);
  if (kind == "W64") return MendW64(read, size);
  if (kind == "CAF") return MendCaf(read, size);
  if (kind == "FLAC") return MendFlac(head);
  return {};
}

}  // namespace leapstream::client
