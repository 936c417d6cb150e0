#ifndef LEAPSTREAM_STREAMING_POLICY_H_
#define LEAPSTREAM_STREAMING_POLICY_H_

namespace leapstream {

enum class Action { kRead, kWrite };

// How far a segment is, in tokens.
struct Progress {
  int source_read = 0;  // </s> counts.
  int target_written = 0;
  bool source_finished = false;  // The source's </s> has been read.
};

// Wait-k (Ma et al. 2019): reads k source tokens, then writes and reads by turns.
struct WaitK {
  int k = 3;
  int write_stride = 1;  // Tokens written per turn.
  bool offline = false;  // Reads the whole segment before it writes.

  // Pure: the same progress gives the same action. Target token t (from 1) is written when the
  // source is finished or k + (t - 1) / write_stride tokens of it have been read. Never kRead once
  // it is finished.
  Action Decide(const Progress& progress) const;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_POLICY_H_
