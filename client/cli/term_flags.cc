#include "client/cli/term_flags.h"

#include <string>

#include "base/glossary_text.h"

namespace leapstream::client {

void AddTermFlags(CLI::App* command, StreamOptions& stream) {
  command
      ->add_option_function<std::string>(
          "--glossary",
          [&stream](const std::string& path) {
            const auto terms = ReadGlossary(path);
            if (!terms.ok()) {
              throw CLI::ValidationError("--glossary", std::string(terms.status().message()));
            }
            stream.glossary.clear();
            for (const GlossaryTerm& term : *terms) {
              stream.glossary.push_back({term.source, term.target});
            }
          },
          "terms, one a line: source, tab or \" = \", target; a term without a target is not "
          "translated")
      ->type_name("FILE");
  command->add_flag("--keep-markup", stream.keep_markup,
                    "tags, placeholders, addresses and numbers of the source stand in the target "
                    "as they are");
}

}  // namespace leapstream::client
