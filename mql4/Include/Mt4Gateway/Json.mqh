// JSON as RFC 8259 has it, in UTF-8 bytes: a reader that refuses, and a writer that never copies
// what it has written.
//
// The reader makes a flat list of tokens; nothing is decoded before it is asked for. Beyond the
// RFC it refuses \u0000 (MQL4's strings end there), unpaired surrogates, bytes that are not UTF-8,
// numbers outside the range of a double, and nesting deeper than JSON_DEPTH.
#ifndef MT4GATEWAY_JSON_MQH
#define MT4GATEWAY_JSON_MQH

#define JSON_DEPTH 32

enum ENUM_JSON
  {
   JSON_NULL,
   JSON_BOOLEAN,
   JSON_INTEGER,   // fits a long
   JSON_REAL,
   JSON_TEXT,
   JSON_ARRAY,
   JSON_OBJECT
  };

class JsonReader
  {
private:
   uchar             bytes[];
   int               length;
   int               at;
   int               count;
   ENUM_JSON         kinds[];
   int               starts[];      // of the token's bytes; text: after the quote
   int               ends[];        // behind its last byte; text: at the closing quote
   int               nexts[];       // the token behind this one and all that is in it

   int               Peek() const { return(at < length ? bytes[at] : -1); }
   bool              Take(int expected);
   void              SkipSpace();
   int               Add(ENUM_JSON kind, int start);
   bool              Close(int token);
   bool              ParseValue(int depth);
   bool              ParseMembers(int token, int depth);
   bool              ParseItems(int token, int depth);
   bool              ParseText();
   bool              ParseEscape();
   int               ParseHex4();
   bool              ParseUtf8();
   bool              ParseWord(string word, ENUM_JSON kind);
   bool              ParseNumber();
   bool              SkipDigits();
   bool              IsLong(int from, int to) const;
   double            RealBetween(int from, int to) const;
   bool              IsKey(int token, string key) const;
   int               DecodeEscape(int from, ushort &units[], int &filled) const;

public:
                     JsonReader() { length = 0; at = 0; count = 0; }
   bool              Parse(const uchar &text[], int from, int to);
   ENUM_JSON         Kind(int token) const { return(kinds[token]); }
   int               Start(int token) const { return(starts[token]); }
   int               End(int token) const { return(ends[token]); }
   uchar             ByteAt(int position) const { return(bytes[position]); }
   int               Find(int object, string key) const;
   int               First(int container) const { return(container + 1 < nexts[container] ? container + 1 : -1); }
   int               Next(int container, int token) const { return(nexts[token] < nexts[container] ? nexts[token] : -1); }
   int               Size(int container) const;
   string            Text(int token) const;
   string            Source(int token) const;
   long              Integer(int token) const;
   double            Real(int token) const { return(RealBetween(starts[token], ends[token])); }
   bool              Boolean(int token) const { return(bytes[starts[token]] == 't'); }
  };

// Parse the bytes [from, to); token 0 is then the whole value.
bool JsonReader::Parse(const uchar &text[], int from, int to)
  {
   length = to - from;
   at = 0;
   count = 0;
   ArrayResize(bytes, length);
   if(length > 0)
      ArrayCopy(bytes, text, 0, from, length);
   SkipSpace();
   if(!ParseValue(0))
      return(false);
   SkipSpace();
   return(at == length);
  }

bool JsonReader::Take(int expected)
  {
   if(Peek() != expected)
      return(false);
   at++;
   return(true);
  }

void JsonReader::SkipSpace()
  {
   while(at < length && (bytes[at] == ' ' || bytes[at] == '\n' || bytes[at] == '\r' || bytes[at] == '\t'))
      at++;
  }

int JsonReader::Add(ENUM_JSON kind, int start)
  {
   if(count == ArraySize(kinds))
     {
      int room = 2 * count + 64;
      ArrayResize(kinds, room);
      ArrayResize(starts, room);
      ArrayResize(ends, room);
      ArrayResize(nexts, room);
     }
   kinds[count] = kind;
   starts[count] = start;
   ends[count] = start;
   nexts[count] = count + 1;
   count++;
   return(count - 1);
  }

bool JsonReader::Close(int token)
  {
   ends[token] = at;
   nexts[token] = count;
   return(true);
  }

bool JsonReader::ParseValue(int depth)
  {
   int c = Peek();
   if(c == '{' && depth < JSON_DEPTH)
      return(ParseMembers(Add(JSON_OBJECT, at), depth));
   if(c == '[' && depth < JSON_DEPTH)
      return(ParseItems(Add(JSON_ARRAY, at), depth));
   if(c == '"')
      return(ParseText());
   if(c == 't')
      return(ParseWord("true", JSON_BOOLEAN));
   if(c == 'f')
      return(ParseWord("false", JSON_BOOLEAN));
   if(c == 'n')
      return(ParseWord("null", JSON_NULL));
   return(ParseNumber());
  }

bool JsonReader::ParseMembers(int token, int depth)
  {
   at++;
   SkipSpace();
   if(Take('}'))
      return(Close(token));
   while(ParseText())
     {
      SkipSpace();
      if(!Take(':'))
         return(false);
      SkipSpace();
      if(!ParseValue(depth + 1))
         return(false);
      SkipSpace();
      if(Take('}'))
         return(Close(token));
      if(!Take(','))
         return(false);
      SkipSpace();
     }
   return(false);
  }

bool JsonReader::ParseItems(int token, int depth)
  {
   at++;
   SkipSpace();
   if(Take(']'))
      return(Close(token));
   while(ParseValue(depth + 1))
     {
      SkipSpace();
      if(Take(']'))
         return(Close(token));
      if(!Take(','))
         return(false);
      SkipSpace();
     }
   return(false);
  }

bool JsonReader::ParseText()
  {
   if(!Take('"'))
      return(false);
   int token = Add(JSON_TEXT, at);
   while(Peek() >= 32)
     {
      int c = Peek();
      if(c == '"')
        {
         Close(token);
         at++;
         return(true);
        }
      if(c == '\\' ? !ParseEscape() : !ParseUtf8())
         return(false);
     }
   return(false);
  }

bool JsonReader::ParseEscape()
  {
   at++;
   int c = Peek();
   at++;
   if(c == '"' || c == '\\' || c == '/' || c == 'b' || c == 'f' || c == 'n' || c == 'r' || c == 't')
      return(true);
   if(c != 'u')
      return(false);
   int unit = ParseHex4();
   if(unit < 0xD800 || unit > 0xDFFF)
      return(unit > 0);
   if(unit > 0xDBFF || !Take('\\') || !Take('u'))
      return(false);
   int low = ParseHex4();
   return(low >= 0xDC00 && low <= 0xDFFF);
  }

int HexDigit(int c)
  {
   if(c >= '0' && c <= '9')
      return(c - '0');
   if(c >= 'a' && c <= 'f')
      return(c - 'a' + 10);
   if(c >= 'A' && c <= 'F')
      return(c - 'A' + 10);
   return(-1);
  }

int JsonReader::ParseHex4()
  {
   int unit = 0;
   for(int i = 0; i < 4; i++)
     {
      int digit = HexDigit(Peek());
      if(digit < 0)
         return(-1);
      unit = unit * 16 + digit;
      at++;
     }
   return(unit);
  }

// One character, checked: no overlong forms, no surrogates, nothing above U+10FFFF.
bool JsonReader::ParseUtf8()
  {
   int lead = Peek();
   at++;
   if(lead < 128)
      return(true);
   int more = lead >= 0xF0 ? 3 : (lead >= 0xE0 ? 2 : 1);
   if(lead < 0xC2 || lead > 0xF4)
      return(false);
   int code = lead & (0x3F >> more);
   for(int i = 0; i < more; i++)
     {
      int c = Peek();
      if(c < 0x80 || c > 0xBF)
         return(false);
      code = code * 64 + (c & 0x3F);
      at++;
     }
   bool is_overlong = (more == 2 && code < 0x800) || (more == 3 && code < 0x10000);
   return(!is_overlong && code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF));
  }

bool JsonReader::ParseWord(string word, ENUM_JSON kind)
  {
   int token = Add(kind, at);
   for(int i = 0; i < StringLen(word); i++)
      if(!Take(StringGetCharacter(word, i)))
         return(false);
   return(Close(token));
  }

bool JsonReader::SkipDigits()
  {
   int start = at;
   while(Peek() >= '0' && Peek() <= '9')
      at++;
   return(at > start);
  }

bool JsonReader::ParseNumber()
  {
   int token = Add(JSON_INTEGER, at);
   Take('-');
   if(!Take('0') && !SkipDigits())
      return(false);
   bool is_real = false;
   if(Take('.'))
     {
      is_real = true;
      if(!SkipDigits())
         return(false);
     }
   if(Peek() == 'e' || Peek() == 'E')
     {
      is_real = true;
      at++;
      if(Peek() == '+' || Peek() == '-')
         at++;
      if(!SkipDigits())
         return(false);
     }
   if(is_real || !IsLong(starts[token], at))
      kinds[token] = JSON_REAL;
   return(Close(token) && MathIsValidNumber(RealBetween(starts[token], at)));
  }

// Does the whole number fit a long? Compared as text, where nothing can overflow.
bool JsonReader::IsLong(int from, int to) const
  {
   bool is_negative = bytes[from] == '-';
   int first = is_negative ? from + 1 : from;
   if(to - first != 19)
      return(to - first < 19);
   string limit = is_negative ? "9223372036854775808" : "9223372036854775807";
   for(int i = 0; i < 19; i++)
     {
      int digit = bytes[first + i];
      int bound = StringGetCharacter(limit, i);
      if(digit != bound)
         return(digit < bound);
     }
   return(true);
  }

// The exponent behind the `e` at position `from`; 0 if there is none; cut off at 9999.
int ExponentAt(const uchar &text[], int from, int to)
  {
   int exponent = 0;
   bool is_negative = false;
   for(int i = from + 1; i < to; i++)
     {
      if(text[i] == '-')
         is_negative = true;
      if(text[i] >= '0' && text[i] <= '9')
         exponent = MathMin(exponent * 10 + (text[i] - '0'), 9999);
     }
   return(is_negative ? -exponent : exponent);
  }

double Scaled(double digits, int scale)
  {
   if(digits == 0.0)
      return(0.0);
   if(scale < -330)
     {
      digits = digits / MathPow(10.0, 30);
      scale = MathMax(scale + 30, -400);
     }
   if(scale < -22 && scale >= -330)
      return(digits / MathPow(10.0, 22) / MathPow(10.0, -scale - 22));
   if(scale < 0)
      return(digits / MathPow(10.0, -scale));
   return(digits * MathPow(10.0, MathMin(scale, 400)));
  }

// The number written at [from, to). Exact up to 15 digits (both the digits and the power of ten
// are then exact doubles and one operation rounds once); else within a few units in the last place.
double JsonReader::RealBetween(int from, int to) const
  {
   double digits = 0.0;
   int scale = 0;
   int used = 0;
   bool is_fraction = false;
   int i = bytes[from] == '-' ? from + 1 : from;
   for(; i < to && bytes[i] != 'e' && bytes[i] != 'E'; i++)
     {
      if(bytes[i] == '.')
        {
         is_fraction = true;
         continue;
        }
      if(used < 18)
        {
         digits = digits * 10.0 + (bytes[i] - '0');
         if(digits > 0.0)
            used++;
         if(is_fraction)
            scale--;
        }
      else
         if(!is_fraction)
            scale++;
     }
   scale += ExponentAt(bytes, i, to);
   double number = Scaled(digits, scale);
   return(bytes[from] == '-' ? 0.0 - number : number);
  }

// Is the text this ASCII key? Byte by byte where nothing is escaped, which is nearly always.
bool JsonReader::IsKey(int token, string key) const
  {
   int size = StringLen(key);
   int from = starts[token];
   if(ends[token] - from < size)
      return(false);
   for(int i = 0; i < size; i++)
     {
      if(bytes[from + i] == '\\')
         return(Text(token) == key);
      if(bytes[from + i] != StringGetCharacter(key, i))
         return(false);
     }
   return(ends[token] - from == size);
  }

// The value of a member, -1 if there is none; of several with one name the last.
int JsonReader::Find(int object, string key) const
  {
   int found = -1;
   if(kinds[object] != JSON_OBJECT)
      return(-1);
   for(int name = First(object); name >= 0; name = Next(object, name + 1))
      if(IsKey(name, key))
         found = name + 1;
   return(found);
  }

int JsonReader::Size(int container) const
  {
   int size = 0;
   for(int item = First(container); item >= 0; item = Next(container, item))
      size++;
   return(size);
  }

// A value as it was written, a text with its quotes.
string JsonReader::Source(int token) const
  {
   int quote = kinds[token] == JSON_TEXT ? 1 : 0;
   return(CharArrayToString(bytes, starts[token] - quote, ends[token] - starts[token] + 2 * quote, CP_UTF8));
  }

string JsonReader::Text(int token) const
  {
   ushort units[];
   int filled = 0;
   int i = starts[token];
   ArrayResize(units, ends[token] - i + 1);
   while(i < ends[token])
     {
      int c = bytes[i];
      if(c == '\\')
        {
         i = DecodeEscape(i + 1, units, filled);
         continue;
        }
      int more = c < 0x80 ? 0 : (c < 0xE0 ? 1 : (c < 0xF0 ? 2 : 3));
      int code = more == 0 ? c : c & (0x3F >> more);
      for(int k = 1; k <= more; k++)
         code = code * 64 + (bytes[i + k] & 0x3F);
      i += 1 + more;
      if(code >= 0x10000)
        {
         units[filled] = (ushort)(0xD800 + ((code - 0x10000) >> 10));
         filled++;
         code = 0xDC00 + ((code - 0x10000) & 0x3FF);
        }
      units[filled] = (ushort)code;
      filled++;
     }
   if(filled == 0)
      return("");
   return(ShortArrayToString(units, 0, filled));
  }

int JsonReader::DecodeEscape(int from, ushort &units[], int &filled) const
  {
   int c = bytes[from];
   int unit = c;
   if(c == 'b') unit = 8;
   if(c == 'f') unit = 12;
   if(c == 'n') unit = 10;
   if(c == 'r') unit = 13;
   if(c == 't') unit = 9;
   int behind = from + 1;
   if(c == 'u')
     {
      unit = 0;
      for(int i = 1; i <= 4; i++)
         unit = unit * 16 + HexDigit(bytes[from + i]);
      behind = from + 5;
     }
   units[filled] = (ushort)unit;
   filled++;
   return(behind);
  }

long JsonReader::Integer(int token) const
  {
   bool is_negative = bytes[starts[token]] == '-';
   long number = 0;
   for(int i = starts[token] + (is_negative ? 1 : 0); i < ends[token]; i++)
      number = number * 10 - (bytes[i] - '0');   // negative, where there is one number more
   return(is_negative ? number : -number);
  }

// Appends to one buffer that doubles when it is full. Values in a row are separated by themselves;
// members written outside any object make a list that can be put into one later.
class JsonWriter
  {
private:
   bool              needs_comma;
   void              Separate();
   void              PutText(string text);
   void              PutCode(int code);
   void              PutEscaped(int unit);

public:
   uchar             bytes[];
   int               length;

                     JsonWriter() { length = 0; needs_comma = false; }
   void              Clear() { length = 0; needs_comma = false; }
   void              Put(int c);
   void              PutAscii(string text);
   void              PutBytes(const uchar &from[], int start, int count);
   void              BeginObject() { Separate(); Put('{'); needs_comma = false; }
   void              EndObject() { Put('}'); needs_comma = true; }
   void              BeginArray() { Separate(); Put('['); needs_comma = false; }
   void              EndArray() { Put(']'); needs_comma = true; }
   void              Key(string name) { Separate(); PutText(name); Put(':'); needs_comma = false; }
   void              Members(const uchar &from[], int start, int count);
   void              Null() { Separate(); PutAscii("null"); }
   void              Boolean(bool value) { Separate(); PutAscii(value ? "true" : "false"); }
   void              Integer(long value) { Separate(); PutAscii(IntegerToString(value)); }
   void              Real(double value);
   void              Text(string value) { Separate(); PutText(value); }
   void              TextOrNull(string value);
   void              AddText(string name, string value) { Key(name); Text(value); }
   void              AddInteger(string name, long value) { Key(name); Integer(value); }
   void              AddReal(string name, double value) { Key(name); Real(value); }
   void              AddBoolean(string name, bool value) { Key(name); Boolean(value); }
  };

void JsonWriter::Put(int c)
  {
   if(length >= ArraySize(bytes))
      ArrayResize(bytes, 2 * length + 256);
   bytes[length] = (uchar)c;
   length++;
  }

void JsonWriter::PutAscii(string text)
  {
   for(int i = 0; i < StringLen(text); i++)
      Put(StringGetCharacter(text, i));
  }

void JsonWriter::PutBytes(const uchar &from[], int start, int count)
  {
   if(count <= 0)
      return;
   if(length + count > ArraySize(bytes))
      ArrayResize(bytes, 2 * length + count + 256);
   ArrayCopy(bytes, from, length, start, count);
   length += count;
  }

// Members that were written elsewhere, without their braces.
void JsonWriter::Members(const uchar &from[], int start, int count)
  {
   if(count <= 0)
      return;
   Separate();
   PutBytes(from, start, count);
  }

void JsonWriter::Separate()
  {
   if(needs_comma)
      Put(',');
   needs_comma = true;
  }

// Eight decimals, as the existing server; what is no number becomes null.
void JsonWriter::Real(double value)
  {
   if(!MathIsValidNumber(value))
     {
      Null();
      return;
     }
   Separate();
   PutAscii(DoubleToString(value == 0.0 ? 0.0 : value, 8));
  }

// The existing server writes an empty text as null, and its clients expect that.
void JsonWriter::TextOrNull(string value)
  {
   if(StringLen(value) == 0)
      Null();
   else
      Text(value);
  }

void JsonWriter::PutText(string text)
  {
   Put('"');
   int size = StringLen(text);
   for(int i = 0; i < size; i++)
     {
      int unit = StringGetCharacter(text, i);
      bool is_high = unit >= 0xD800 && unit < 0xDC00;
      int low = is_high && i + 1 < size ? StringGetCharacter(text, i + 1) : 0;
      if(low >= 0xDC00 && low <= 0xDFFF)
        {
         PutCode(0x10000 + ((unit & 0x3FF) << 10) + (low & 0x3FF));
         i++;
        }
      else
         PutCode(unit >= 0xD800 && unit <= 0xDFFF ? 0xFFFD : unit);
     }
   Put('"');
  }

void JsonWriter::PutCode(int code)
  {
   if(code < 32 || code == '"' || code == '\\')
     {
      PutEscaped(code);
      return;
     }
   if(code < 0x80)
     {
      Put(code);
      return;
     }
   int more = code < 0x800 ? 1 : (code < 0x10000 ? 2 : 3);
   Put((more == 1 ? 0xC0 : (more == 2 ? 0xE0 : 0xF0)) | (code >> (6 * more)));
   for(int i = more - 1; i >= 0; i--)
      Put(0x80 | ((code >> (6 * i)) & 0x3F));
  }

void JsonWriter::PutEscaped(int unit)
  {
   string hex = "0123456789abcdef";
   Put('\\');
   if(unit == '"' || unit == '\\')
     {
      Put(unit);
      return;
     }
   if(unit == '\n' || unit == '\r' || unit == '\t')
     {
      Put(unit == '\n' ? 'n' : (unit == '\r' ? 'r' : 't'));
      return;
     }
   PutAscii("u00");
   Put(StringGetCharacter(hex, unit / 16));
   Put(StringGetCharacter(hex, unit % 16));
  }

#endif
