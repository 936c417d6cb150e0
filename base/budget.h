#ifndef LEAPSTREAM_BASE_BUDGET_H_
#define LEAPSTREAM_BASE_BUDGET_H_

#include <cstddef>
#include <cstdint>

// What one client, call or turn may cost, in bytes and rows and not in tokens alone. Every bound
// that is no setting stands here, and nowhere else; docs/operating.md, "Budgets", has the same list
// with the test that holds each.
namespace leapstream::budget {

// A turn of the step thread. Source tokens, and target tokens that are replayed; beyond it, each
// session still has one.
inline constexpr int kRowsPerTurn = 64;
inline constexpr size_t kSessionsPerTurn = 256;

// One session's inbox.
inline constexpr int64_t kInputBytes = 64;  // What an input counts besides its content.
// Most inputs a session may have queued, whatever their size: to receive one takes longer than to
// store it. A live speaker has only a few.
inline constexpr size_t kQueuedInputs = 128;

// The log.
inline constexpr size_t kLogBytes = 256 << 10;    // That wait for whoever reads it.
inline constexpr size_t kLogLineBytes = 16 << 10;
inline constexpr size_t kLogValueBytes = 200;     // Of a field, and of a line of gRPC's.

// A client. Addresses of one name that it connects to.
inline constexpr size_t kAddressesPerName = 64;

}  // namespace leapstream::budget

#endif  // LEAPSTREAM_BASE_BUDGET_H_
