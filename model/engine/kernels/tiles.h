#ifndef LEAPSTREAM_MODEL_ENGINE_KERNELS_TILES_H_
#define LEAPSTREAM_MODEL_ENGINE_KERNELS_TILES_H_

#include <cstdint>

// The tile registers of AMX, for simd_kernels.cc alone: eight registers of 16 rows x 64 bytes. With
// LEAPSTREAM_EMULATED_TILES they are plain memory, and the instructions plain loops with the
// semantics of Intel's manual ("Intel 64 and IA-32 Architectures Software Developer's Manual",
// volume 2: LDTILECFG, TDPBUSD, TILELOADD, TILERELEASE, TILESTORED, TILEZERO), so that the code
// around them is tested on any processor. All functions are static: see simd_kernels.cc.
namespace leapstream {

inline constexpr int64_t kTileRows = 16;
inline constexpr int64_t kTileBytes = 64;  // The bytes of a row.

// The memory operand of LDTILECFG.
struct alignas(64) TileConfiguration {
  uint8_t palette;
  uint8_t start_row;
  uint8_t reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};
static_assert(sizeof(TileConfiguration) == 64, "as in Intel's manual");

#ifdef LEAPSTREAM_EMULATED_TILES

struct EmulatedTile {
  uint8_t bytes[kTileRows][kTileBytes];
};

static thread_local TileConfiguration emulated_configuration;
static thread_local EmulatedTile emulated_tiles[8];

static void LoadConfiguration(const TileConfiguration& configuration) {
  for (EmulatedTile& tile : emulated_tiles) tile = EmulatedTile{};
  emulated_configuration = configuration;
}

static void ReleaseTiles() { LoadConfiguration(TileConfiguration{}); }

// Returns the rows of a tile. A processor raises #UD for tiles without a configuration.
template <int kTile>
int ConfiguredRows() {
  if (emulated_configuration.palette != 1) __builtin_trap();
  return emulated_configuration.rows[kTile];
}

template <int kTile>
static void ZeroTile() {
  ConfiguredRows<kTile>();
  emulated_tiles[kTile] = EmulatedTile{};
}

template <int kTile>
static void LoadTile(const void* from, int64_t stride) {
  const int rows = ConfiguredRows<kTile>();
  emulated_tiles[kTile] = EmulatedTile{};
  for (int r = 0; r < rows; ++r) {
    __builtin_memcpy(emulated_tiles[kTile].bytes[r], static_cast<const char*>(from) + r * stride,
                     emulated_configuration.row_bytes[kTile]);
  }
}

template <int kTile>
static void StoreTile(void* to, int64_t stride) {
  const int rows = ConfiguredRows<kTile>();
  for (int r = 0; r < rows; ++r) {
    __builtin_memcpy(static_cast<char*>(to) + r * stride, emulated_tiles[kTile].bytes[r],
                     emulated_configuration.row_bytes[kTile]);
  }
}

// sums [M, N] += a [M, 4 K] b [K, N, 4]: unsigned bytes times signed ones, sums of 32 bits.
template <int kSums, int kA, int kB>
static void MultiplyTiles() {
  const int rows = ConfiguredRows<kSums>();
  const int columns = emulated_configuration.row_bytes[kSums] / 4;
  for (int m = 0; m < rows; ++m) {
    for (int k = 0; k < emulated_configuration.row_bytes[kA] / 4; ++k) {
      for (int n = 0; n < columns; ++n) {
        int32_t sum;
        __builtin_memcpy(&sum, emulated_tiles[kSums].bytes[m] + 4 * n, sizeof(sum));
        for (int i = 0; i < 4; ++i) {
          sum += emulated_tiles[kA].bytes[m][4 * k + i] *
                 static_cast<int8_t>(emulated_tiles[kB].bytes[k][4 * n + i]);
        }
        __builtin_memcpy(emulated_tiles[kSums].bytes[m] + 4 * n, &sum, sizeof(sum));
      }
    }
  }
}

#else

static inline void LoadConfiguration(const TileConfiguration& configuration) {
  asm volatile("ldtilecfg %0" : : "m"(configuration));
}

// Without this, each change of threads would save and restore 8 KB.
static inline void ReleaseTiles() { asm volatile("tilerelease" : : : "memory"); }

template <int kTile>
static inline void ZeroTile() {
  asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
}

template <int kTile>
static inline void LoadTile(const void* from, int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory");
}

template <int kTile>
static inline void StoreTile(void* to, int64_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(kTile) : "memory");
}

template <int kSums, int kA, int kB>
static inline void MultiplyTiles() {
  asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSums), "i"(kA), "i"(kB));
}

#endif

// All tiles are of 16 rows x 64 bytes. Each thread does this before it uses them.
static inline void ConfigureTiles() {
  TileConfiguration configuration = {};
  configuration.palette = 1;
  for (int tile = 0; tile < 8; ++tile) {
    configuration.rows[tile] = kTileRows;
    configuration.row_bytes[tile] = kTileBytes;
  }
  LoadConfiguration(configuration);
}

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_KERNELS_TILES_H_
