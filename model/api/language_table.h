#ifndef LEAPSTREAM_MODEL_API_LANGUAGE_TABLE_H_
#define LEAPSTREAM_MODEL_API_LANGUAGE_TABLE_H_

namespace leapstream {

// The names of a language. ISO 639-3 has codes for macrolanguages ("fas", Persian) and for the
// languages that they hold ("pes", Iranian Persian). Where models translate one of these, it stands
// for the macrolanguage, whose code is another name.
struct LanguageNames {
  const char* iso639_1;  // Empty: there is none.
  const char* iso639_3;
  const char* script;   // The usual script, as ISO 15924 and Unicode's CLDR have it.
  const char* aliases;  // Other codes: of the macrolanguage, deprecated ones, and M2M-100's "ns".
};

// The languages of NLLB-200, M2M-100 and mBART-50 that have an ISO 639-1 code, several scripts or
// another name. Of all others the ISO 639-3 code is the only name.
inline constexpr LanguageNames kLanguageNames[] = {
    {"af", "afr", "Latn", ""}, {"ak", "aka", "Latn", ""}, {"am", "amh", "Ethi", ""},
    {"ar", "arb", "Arab", "ara"}, {"as", "asm", "Beng", ""}, {"ay", "ayr", "Latn", "aym"},
    {"az", "azj", "Latn", "aze"}, {"ba", "bak", "Cyrl", ""}, {"be", "bel", "Cyrl", ""},
    {"bg", "bul", "Cyrl", ""}, {"bm", "bam", "Latn", ""}, {"bn", "ben", "Beng", ""},
    {"bo", "bod", "Tibt", ""}, {"br", "bre", "Latn", ""}, {"bs", "bos", "Latn", ""},
    {"ca", "cat", "Latn", ""}, {"cs", "ces", "Latn", ""}, {"cy", "cym", "Latn", ""},
    {"da", "dan", "Latn", ""}, {"de", "deu", "Latn", ""}, {"dz", "dzo", "Tibt", ""},
    {"ee", "ewe", "Latn", ""}, {"el", "ell", "Grek", ""}, {"en", "eng", "Latn", ""},
    {"eo", "epo", "Latn", ""}, {"es", "spa", "Latn", ""}, {"et", "est", "Latn", "ekk"},
    {"eu", "eus", "Latn", ""}, {"fa", "pes", "Arab", "fas"}, {"ff", "fuv", "Latn", "ful"},
    {"fi", "fin", "Latn", ""}, {"fj", "fij", "Latn", ""}, {"fo", "fao", "Latn", ""},
    {"fr", "fra", "Latn", ""}, {"fy", "fry", "Latn", ""}, {"ga", "gle", "Latn", ""},
    {"gd", "gla", "Latn", ""}, {"gl", "glg", "Latn", ""}, {"gn", "grn", "Latn", ""},
    {"gu", "guj", "Gujr", ""}, {"ha", "hau", "Latn", ""}, {"he", "heb", "Hebr", "iw"},
    {"hi", "hin", "Deva", ""}, {"hr", "hrv", "Latn", ""}, {"ht", "hat", "Latn", ""},
    {"hu", "hun", "Latn", ""}, {"hy", "hye", "Armn", ""}, {"id", "ind", "Latn", "in"},
    {"ig", "ibo", "Latn", ""}, {"is", "isl", "Latn", ""}, {"it", "ita", "Latn", ""},
    {"ja", "jpn", "Jpan", ""}, {"jv", "jav", "Latn", "jw"}, {"ka", "kat", "Geor", ""},
    {"kg", "kon", "Latn", ""}, {"ki", "kik", "Latn", ""}, {"kk", "kaz", "Cyrl", ""},
    {"km", "khm", "Khmr", ""}, {"kn", "kan", "Knda", ""}, {"ko", "kor", "Hang", ""},
    {"kr", "knc", "Latn", "kau"}, {"ks", "kas", "Arab", ""}, {"ku", "kmr", "Latn", "kur"},
    {"ky", "kir", "Cyrl", ""}, {"lb", "ltz", "Latn", ""}, {"lg", "lug", "Latn", ""},
    {"li", "lim", "Latn", ""}, {"ln", "lin", "Latn", ""}, {"lo", "lao", "Laoo", ""},
    {"lt", "lit", "Latn", ""}, {"lv", "lvs", "Latn", "lav"}, {"mg", "plt", "Latn", "mlg"},
    {"mi", "mri", "Latn", ""}, {"mk", "mkd", "Cyrl", ""}, {"ml", "mal", "Mlym", ""},
    {"mn", "khk", "Cyrl", "mon"}, {"mr", "mar", "Deva", ""}, {"ms", "zsm", "Latn", "msa"},
    {"mt", "mlt", "Latn", ""}, {"my", "mya", "Mymr", ""}, {"nb", "nob", "Latn", "no nor"},
    {"ne", "npi", "Deva", "nep"}, {"nl", "nld", "Latn", ""}, {"nn", "nno", "Latn", ""},
    {"ny", "nya", "Latn", ""}, {"oc", "oci", "Latn", ""}, {"om", "gaz", "Latn", "orm"},
    {"or", "ory", "Orya", "ori"}, {"pa", "pan", "Guru", ""}, {"pl", "pol", "Latn", ""},
    {"ps", "pbt", "Arab", "pus"}, {"pt", "por", "Latn", ""}, {"qu", "quy", "Latn", "que"},
    {"rn", "run", "Latn", ""}, {"ro", "ron", "Latn", "mo"}, {"ru", "rus", "Cyrl", ""},
    {"rw", "kin", "Latn", ""}, {"sa", "san", "Deva", ""}, {"sc", "srd", "Latn", ""},
    {"sd", "snd", "Arab", ""}, {"sg", "sag", "Latn", ""}, {"si", "sin", "Sinh", ""},
    {"sk", "slk", "Latn", ""}, {"sl", "slv", "Latn", ""}, {"sm", "smo", "Latn", ""},
    {"sn", "sna", "Latn", ""}, {"so", "som", "Latn", ""}, {"sq", "als", "Latn", "sqi"},
    {"sr", "srp", "Cyrl", ""}, {"ss", "ssw", "Latn", ""}, {"st", "sot", "Latn", ""},
    {"su", "sun", "Latn", ""}, {"sv", "swe", "Latn", ""}, {"sw", "swh", "Latn", "swa"},
    {"ta", "tam", "Taml", ""}, {"te", "tel", "Telu", ""}, {"tg", "tgk", "Cyrl", ""},
    {"th", "tha", "Thai", ""}, {"ti", "tir", "Ethi", ""}, {"tk", "tuk", "Latn", ""},
    {"tl", "tgl", "Latn", "fil"}, {"tn", "tsn", "Latn", ""}, {"tr", "tur", "Latn", ""},
    {"ts", "tso", "Latn", ""}, {"tt", "tat", "Cyrl", ""}, {"tw", "twi", "Latn", ""},
    {"ug", "uig", "Arab", ""}, {"uk", "ukr", "Cyrl", ""}, {"ur", "urd", "Arab", ""},
    {"uz", "uzn", "Latn", "uzb"}, {"vi", "vie", "Latn", ""}, {"wo", "wol", "Latn", ""},
    {"xh", "xho", "Latn", ""}, {"yi", "ydd", "Hebr", "yid ji"}, {"yo", "yor", "Latn", ""},
    {"zh", "zho", "Hans", "cmn"}, {"zu", "zul", "Latn", ""}, {"", "ace", "Latn", ""},
    {"", "bjn", "Latn", ""}, {"", "nso", "Latn", "ns"}, {"", "taq", "Latn", ""},
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_LANGUAGE_TABLE_H_
