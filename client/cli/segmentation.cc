#include "client/cli/segmentation.h"

#include <utility>

namespace leapstream::client {

void Segmenter::Add(SourceItem item, std::deque<SourceItem>& out) {
  if (by_lines_) return out.push_back(std::move(item));
  const bool ends_line = std::exchange(item.ends_line, false);
  const bool is_space = item.text == " ";  // It ends a word that had none behind it.
  if (!item.text.empty() && (is_open_ || !is_space)) {
    if (item.text.back() != ' ' && ends_line) item.text.push_back(' ');
    line_is_empty_ = false;
    is_open_ = true;
    out.push_back(std::move(item));
  }
  if (!ends_line) return;
  if (line_is_empty_) Finish(out);
  line_is_empty_ = true;
}

void Segmenter::Finish(std::deque<SourceItem>& out) {
  if (std::exchange(is_open_, false)) out.push_back({"", true});
}

}  // namespace leapstream::client
