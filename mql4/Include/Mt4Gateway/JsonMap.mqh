// Published maps as JSON, for the pipe.
#ifndef MT4GATEWAY_JSONMAP_MQH
#define MT4GATEWAY_JSONMAP_MQH

#include <Mt4Gateway/Json.mqh>
#include <Mt4Gateway/Maps.mqh>

#define MAX_MAP_DEPTH 8

class JsonMap : public MapWriter
  {
private:
   int               left[MAX_MAP_DEPTH];   // names and values that each open map still wants
   int               depth;

   bool              IsName() const { return(depth > 0 && left[depth - 1] % 2 == 0); }
   void              Done();

public:
   JsonWriter        json;

                     JsonMap() { depth = 0; }
   virtual void      Clear() { json.Clear(); depth = 0; }
   virtual void      Map(int members);
   virtual void      Null() { json.Null(); Done(); }
   virtual void      Boolean(bool value) { json.Boolean(value); Done(); }
   virtual void      Integer(long value) { json.Integer(value); Done(); }
   virtual void      Real(double value) { json.Real(value); Done(); }
   virtual void      Text(string value);
  };

// Every map of ours has members.
void JsonMap::Map(int members)
  {
   json.BeginObject();
   left[depth] = 2 * members;
   depth++;
  }

void JsonMap::Text(string value)
  {
   if(!IsName())
     {
      json.Text(value);
      Done();
      return;
     }
   json.Key(value);
   left[depth - 1] = left[depth - 1] - 1;
  }

// A value is written: the maps that it completes are closed, each a value of the one around it.
void JsonMap::Done()
  {
   while(depth > 0)
     {
      left[depth - 1] = left[depth - 1] - 1;
      if(left[depth - 1] > 0)
         return;
      json.EndObject();
      depth--;
     }
  }

#endif
