#include "client/cli/lanes.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/characters.h"

namespace leapstream::client {
namespace {

constexpr const char* kLabels[] = {"source  ", "policy  ", "target  "};
constexpr char kTypingLabel[] = "typing  ";
constexpr int kLabelWidth = 8;
constexpr int kMinRoom = 8;
constexpr absl::string_view kPlain = "\x1b[0m", kDim = "\x1b[2m", kRead = "\x1b[36m",
                            kWrite = "\x1b[32m", kTarget = "\x1b[1m";

// Replaces control characters: a terminal would take them for commands, and they would break the
// picture.
std::string Printable(absl::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) c = ' ';
  }
  return result;
}

// The longest start of `text` of at most `width` columns.
absl::string_view Fitting(absl::string_view text, int width) {
  size_t size = 0;
  while (size < text.size()) {
    const size_t next = size + CharacterBytes(text.substr(size));
    if (DisplayWidth(text.substr(0, next)) > width) break;
    size = next;
  }
  return text.substr(0, size);
}

}  // namespace

// The last column stays free: writing into it makes some terminals start a line.
int Lanes::Room() const { return std::max(options_.columns - kLabelWidth - 1, kMinRoom); }

int Lanes::Now() const { return std::max({source_.width, actions_.width, target_.width}); }

void Lanes::MakeRoom(int width) {
  if (Now() > 0 && Now() + width > Room()) NewBlock();
}

void Lanes::Place(Row& row, int column, absl::string_view text, absl::string_view style) {
  if (column > row.width) {
    row.text.append(static_cast<size_t>(column - row.width), ' ');
    row.width = column;
  }
  const absl::string_view fitting = Fitting(text, Room() - row.width);
  absl::StrAppend(&row.text, style, fitting, style.empty() ? "" : kPlain);
  row.width += DisplayWidth(fitting);
  if (fitting.size() == text.size()) return;
  if (fitting.empty() && row.width == 0) return;  // No terminal is so narrow.
  const std::string rest(text.substr(fitting.size()));
  NewBlock();
  adding_.text = rest;
  adding_.actions.clear();
  Place(row, 0, rest, style);
}

void Lanes::Add(Thing thing) {
  adding_ = thing;
  Lay(thing);
  things_.push_back(std::move(adding_));
}

void Lanes::Lay(const Thing& thing) {
  switch (thing.kind) {
    case Thing::Kind::kSource:
      MakeRoom(DisplayWidth(thing.text) + 1);
      Place(source_, Now(), absl::StrCat(thing.text, source_.width < Room() ? " " : ""), "");
      return;
    case Thing::Kind::kMark:
      return Mark(thing.of_source ? source_ : target_, thing.text);
    case Thing::Kind::kTarget:
      return LayTarget(thing);
  }
}

void Lanes::Source(absl::string_view word) {
  Thing thing;
  thing.text = Printable(absl::StripAsciiWhitespace(word));
  Add(std::move(thing));
}

void Lanes::SourceEnd() { Add({Thing::Kind::kMark, "| ", /*of_source=*/true, {}}); }

// A mark is not worth a row of its own.
void Lanes::Mark(Row& row, absl::string_view mark) {
  if (Now() + DisplayWidth(mark) <= Room()) Place(row, Now(), mark, Style(kDim));
}

void Lanes::Target(absl::string_view text, const std::vector<int>& source_tokens_read) {
  Thing thing;
  thing.kind = Thing::Kind::kTarget;
  for (const int read : source_tokens_read) {
    if (read > read_) thing.actions.emplace_back('R', read - read_);
    thing.actions.emplace_back('W', 1);
    read_ = std::max(read_, read);
    ++written_;
  }
  thing.text = Printable(text);
  Add(std::move(thing));
}

void Lanes::LayTarget(const Thing& thing) {
  int columns = 0;
  for (const auto& action : thing.actions) columns += action.second;
  std::string shown = thing.text;
  // A piece that goes on with a word stands beside it, whatever was said in between.
  const bool goes_on = !shown.empty() && shown.front() != ' ' && target_.width > 0;
  if (!goes_on) MakeRoom(std::max(DisplayWidth(shown), columns));
  const int column = goes_on ? target_.width : Now();
  for (const auto& [action, count] : thing.actions) {
    Place(actions_, std::max(column, actions_.width),
          std::string(static_cast<size_t>(count), action), Style(action == 'R' ? kRead : kWrite));
  }
  if (target_.width == 0 && !shown.empty() && shown.front() == ' ') shown.erase(0, 1);
  if (!shown.empty()) Place(target_, goes_on ? target_.width : column, shown, Style(kTarget));
}

void Lanes::TargetEnd(std::optional<double> average_lagging) {
  Add({Thing::Kind::kMark, " | ", /*of_source=*/false, {}});
  ++segment_;
  read_ = written_ = 0;
  if (!average_lagging.has_value()) return;
  lagging_ += *average_lagging;
  ++measured_;
}

void Lanes::Note(absl::string_view line) {
  NewBlock();
  Redraw();
  absl::StrAppend(&output_, "\r", Style(kDim), Printable(line), Style(kPlain), "\x1b[K\n");
}

void Lanes::Redraw() {
  if (!drawn_.empty()) output_ += "\r\n";
  drawn_.clear();
  drawn_widths_.clear();
}

void Lanes::Resize(int columns) {
  if (columns == options_.columns) return;
  options_.columns = columns;
  Erase();
  source_ = actions_ = target_ = Row();
  for (Thing& thing : std::exchange(things_, {})) Add(std::move(thing));
}

void Lanes::Erase() {
  int above = -1;  // The lines above the one with the cursor.
  for (const int width : drawn_widths_) {
    const int columns = std::max(options_.columns, 1);
    above += options_.reflows ? std::max((width + columns - 1) / columns, 1) : 1;
  }
  if (above > 0) absl::StrAppend(&output_, "\x1b[", above, "A");
  if (!drawn_.empty()) output_ += "\r\x1b[J";
  drawn_.clear();
  drawn_widths_.clear();
}

void Lanes::Typing(absl::string_view word) { typing_ = Printable(word); }

void Lanes::LeaveFigures() {
  if (options_.typing) output_ += "\r\x1b[K\x1b[1A";
  output_ += "\r\x1b[K";
}

// Leaves the rows so far; the next rows begin at the line of figures.
void Lanes::NewBlock() {
  if (Now() == 0) return;
  output_ += TakeOutput();
  source_ = actions_ = target_ = Row();
  things_.clear();
  drawn_.clear();
  drawn_widths_.clear();
  LeaveFigures();
  output_ += "\n";
}

std::string Lanes::Figures() const {
  const bool all_done = finished_ && read_ == 0 && written_ == 0;
  std::string line =
      all_done ? Counted(segment_ - 1, "segment")
               : absl::StrFormat("segment %d: READ %d, WRITE %d, lagging %s", segment_, read_,
                                 written_, Counted(std::max(read_ - written_, 0), "token"));
  if (measured_ > 0) {
    absl::StrAppendFormat(&line, "; mean AL %.2f of %d", lagging_ / static_cast<double>(measured_),
                          measured_);
  }
  return std::string(Fitting(line, std::max(options_.columns - 1, kMinRoom)));
}

Lanes::Row Lanes::Drawn(int row) const {
  if (row == 3) {
    const std::string figures = Figures();
    return {absl::StrCat(Style(kDim), figures, Style(kPlain)), DisplayWidth(figures)};
  }
  if (row == 4) {  // The end of the word, if it is too long.
    absl::string_view shown = typing_;
    while (DisplayWidth(shown) > Room()) shown.remove_prefix(CharacterBytes(shown));
    return {absl::StrCat(Style(kDim), kTypingLabel, Style(kPlain), shown),
            kLabelWidth + DisplayWidth(shown)};
  }
  const Row& own = row == 0 ? source_ : row == 1 ? actions_ : target_;
  return {absl::StrCat(Style(kDim), kLabels[row], Style(kPlain), own.text),
          kLabelWidth + own.width};
}

std::string Lanes::TakeOutput() {
  if (Now() > 0 || !drawn_.empty() || options_.typing) {
    const bool first = drawn_.empty();
    const int last = options_.typing ? 4 : 3;
    std::vector<std::string> rows;
    std::vector<int> widths;
    for (int i = 0; i <= last; ++i) {
      Row row = Drawn(i);
      rows.push_back(std::move(row.text));
      widths.push_back(row.width);
    }
    if (rows != drawn_) {
      if (!first) absl::StrAppend(&output_, "\r\x1b[", last, "A");
      for (int i = 0; i <= last; ++i) {
        // The last row is written also for the cursor.
        if (first || i == last || rows[i] != drawn_[i]) {
          absl::StrAppend(&output_, "\r", rows[i], "\x1b[K");
        }
        if (i < last) output_ += "\n";
      }
      drawn_ = std::move(rows);
      drawn_widths_ = std::move(widths);
    }
  }
  return std::exchange(output_, "");
}

void Lanes::Finish() {
  finished_ = true;
  options_.typing = options_.typing && !drawn_.empty();
  output_ += TakeOutput();
  if (options_.typing) {
    output_ += "\r\x1b[K";  // The typing line is over.
  } else if (!drawn_.empty()) {
    output_ += "\r\n";
  }
  options_.typing = false;
  drawn_.clear();
  drawn_widths_.clear();
  things_.clear();
  source_ = actions_ = target_ = Row();
}

}  // namespace leapstream::client
