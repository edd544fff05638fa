// A writer of msgpack, for what leaves on the publishing socket.
#ifndef MT4GATEWAY_MSGPACK_MQH
#define MT4GATEWAY_MSGPACK_MQH

#include <Mt4Gateway/Maps.mqh>

class MsgPackWriter : public MapWriter
  {
private:
   void              Put(int c);
   void              PutBigEndian(ulong bits, int size);
   void              PutCode(int code);
   void              PutHead(int size, int short_head, int short_limit, int head8, int head16, int head32);

public:
   uchar             bytes[];
   int               length;

                     MsgPackWriter() { length = 0; }
   virtual void      Clear() { length = 0; }
   virtual void      Map(int members) { PutHead(members, 0x80, 15, -1, 0xDE, 0xDF); }
   virtual void      Null() { Put(0xC0); }
   virtual void      Boolean(bool value) { Put(value ? 0xC3 : 0xC2); }
   virtual void      Integer(long value);
   virtual void      Real(double value);
   virtual void      Text(string value);
  };

void MsgPackWriter::Put(int c)
  {
   if(length >= ArraySize(bytes))
      ArrayResize(bytes, 2 * length + 256);
   bytes[length] = (uchar)c;
   length++;
  }

void MsgPackWriter::PutBigEndian(ulong bits, int size)
  {
   for(int i = size - 1; i >= 0; i--)
      Put((int)((bits >> (8 * i)) & 255));
  }

// The shortest head for a size; a negative head means that there is none of that width.
void MsgPackWriter::PutHead(int size, int short_head, int short_limit, int head8, int head16, int head32)
  {
   if(size <= short_limit)
     {
      Put(short_head | size);
      return;
     }
   int width = size < 256 && head8 >= 0 ? 1 : (size < 65536 ? 2 : 4);
   Put(width == 1 ? head8 : (width == 2 ? head16 : head32));
   PutBigEndian((ulong)size, width);
  }

// The shortest form, as other writers choose it.
void MsgPackWriter::Integer(long value)
  {
   if(value >= -32 && value < 128)
     {
      Put((int)(value & 255));
      return;
     }
   bool is_negative = value < 0;
   long size = is_negative ? -(value + 1) : value;   // how far from zero, without overflow
   int width = 3;
   for(int i = 0; i < 3 && width == 3; i++)
      if(size < ((long)1 << ((8 << i) - (is_negative ? 1 : 0))))
         width = i;
   Put((is_negative ? 0xD0 : 0xCC) + width);
   PutBigEndian((ulong)value, 1 << width);
  }

// The bits of an IEEE 754 double, taken apart by arithmetic that is exact: MQL4 has no unions.
ulong DoubleBits(double value)
  {
   ulong sign = value < 0.0 ? (ulong)1 << 63 : 0;
   double size = value < 0.0 ? 0.0 - value : value;
   int exponent = 0;
   if(size == 0.0)
      return(0);
   while(size >= 2.0)
     {
      size = size * 0.5;
      exponent++;
     }
   while(size < 1.0 && exponent > -1022)
     {
      size = size * 2.0;
      exponent--;
     }
   ulong fraction = (ulong)(size * 4503599627370496.0);   // 2^52: 1.f becomes a whole number
   if(size < 1.0)
      return(sign | fraction);                             // denormal
   return(sign | ((ulong)(exponent + 1023) << 52) | (fraction - 4503599627370496));
  }

// What is no number becomes nil.
void MsgPackWriter::Real(double value)
  {
   if(!MathIsValidNumber(value))
     {
      Null();
      return;
     }
   Put(0xCB);
   PutBigEndian(DoubleBits(value), 8);
  }

void MsgPackWriter::PutCode(int code)
  {
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

// The code point at `at`, which moves behind it; a lone surrogate becomes U+FFFD.
int TakeCodePoint(string text, int &at)
  {
   int unit = StringGetCharacter(text, at);
   at++;
   if(unit < 0xD800 || unit > 0xDFFF)
      return(unit);
   int low = unit < 0xDC00 ? StringGetCharacter(text, at) : 0;
   if(low < 0xDC00 || low > 0xDFFF)
      return(0xFFFD);
   at++;
   return(0x10000 + ((unit & 0x3FF) << 10) + (low & 0x3FF));
  }

int Utf8Width(int code)
  {
   return(code < 0x80 ? 1 : (code < 0x800 ? 2 : (code < 0x10000 ? 3 : 4)));
  }

void MsgPackWriter::Text(string value)
  {
   int units = StringLen(value);
   int size = 0;
   for(int i = 0; i < units;)
      size += Utf8Width(TakeCodePoint(value, i));
   PutHead(size, 0xA0, 31, 0xD9, 0xDA, 0xDB);
   for(int k = 0; k < units;)
      PutCode(TakeCodePoint(value, k));
  }

#endif
