#ifndef LEAPSTREAM_CLIENT_CLI_EVENT_PRINTER_H_
#define LEAPSTREAM_CLIENT_CLI_EVENT_PRINTER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "client/cli/cut_segments.h"
#include "client/cli/lanes.h"
#include "client/cli/segmentation.h"
#include "client/cli/subtitles.h"
#include "client/hypotheses/source_stabilizer.h"
#include "client/types.h"

namespace leapstream::client {

struct EventPrinterOptions {
  bool json = false;     // Standard output gets events, not text.
  // It gets cues. The times of text are those at which it came, of speech the places in the audio.
  std::optional<SubtitleFormat> subtitles;
  bool verbose = false;  // Standard error gets session and lagging.
  bool speech = false;   // The source is audio: lagging is in ms, and no lanes are drawn.
  bool paced = false;    // Standard error gets the source as it is sent, and figures.
  bool typed = false;    // The source is typed into the terminal.
  bool sentences = false;  // The server was asked to find sentences.
  Segmentation segmentation = Segmentation::kLineSentences;
};

// Shows the events of one run of `leapstream translate`: the translation, JSON, or lanes on
// standard output; notes and figures on standard error. Where both go to one screen, the printer
// keeps their lines apart. Knows nothing of the stream. Not thread-safe. Errors are those of
// WriteOutput().
class EventPrinter {
 public:
  explicit EventPrinter(const EventPrinterOptions& options);

  bool draws_lanes() const { return lanes_ != nullptr; }

  absl::Status Print(const Event& event);
  void Source(absl::string_view text);  // Text was sent.
  void SourceEnd();                     // A segment of the source was ended.

  // The next four do nothing unless lanes are drawn. Draw() shows what has changed.
  void Typing(absl::string_view word);  // The word that is being typed.
  void Resize();                        // The terminal's size has changed.
  void Redraw();                        // Others wrote to the terminal meanwhile.
  absl::Status Draw();

  // Says a line on standard error at once.
  void Say(absl::string_view line);
  // Ends an open line of the translation, so that no prompt or error message continues it.
  absl::Status EndLine();
  // Says at the end what became of a speech recogniser's hypotheses. Called before Finish().
  // `has_sentences`: some segment ended with a sentence.
  void Hypotheses(const StabilizerFigures& figures, bool has_sentences);
  // Ends all lines, and prints the notes and the figures of the run. Called after the last event.
  absl::Status Finish();
  // RESOURCE_EXHAUSTED: source was dropped.
  absl::Status status() const { return cut_.status(); }

 private:
  absl::Status Show(const Started& started);
  absl::Status Show(const Delta& delta);
  absl::Status Show(const SegmentCompleted& completed);
  absl::Status Show(const GoingAway& away);
  absl::Status Show(const Interrupted& interrupted);
  absl::Status Show(const Resumed& resumed);
  absl::Status Show(const Summary& summary);
  absl::Status ShowCues(const std::vector<Cue>& cues);
  absl::Status ShowEnd(const SegmentCompleted& completed);  // The end of a segment as text.
  void ShowFigures(const SegmentStats& stats);              // Those of a segment of speech.
  std::string Figures() const;                              // Those of the run.
  std::string HypothesisFigures() const;

  void EndSourceLine();
  void Report(absl::string_view line);
  absl::Status WriteTarget(absl::string_view text);

  const EventPrinterOptions options_;
  const std::unique_ptr<Lanes> lanes_;  // Null: plain text, or JSON.
  const bool reports_;                  // Figures and notes go to stderr.
  const bool shows_source_;             // Source words go to stderr as they are sent.
  const bool one_screen_;               // stdout and stderr are one terminal or file.

  bool target_line_open_ = false;    // stdout stands within a line.
  bool screen_target_open_ = false;  // The screen that stdout and stderr share does, too.
  bool source_line_open_ = false;
  std::string before_next_;  // Stands between a segment that continues and the next text.

  int64_t measured_ = 0;  // Segments in the sums below.
  double lagging_ = 0;
  double adaptive_lagging_ = 0;
  absl::Duration first_token_;
  std::string away_;  // The server's announcement, until the stream has moved or is complete.
  std::vector<std::string> notes_;  // For the end of the run.
  CutSegments cut_;
  Summary summary_;
  CueMaker cue_maker_;
  SpeechCueMaker speech_cues_;
  size_t cues_ = 0;  // Number of cues that were written.
  SteadyTime started_ = SteadyNow();  // The session's start, from which cues are timed.
  std::optional<StabilizerFigures> hypotheses_;  // nullopt: the source is no recogniser's.
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_EVENT_PRINTER_H_
